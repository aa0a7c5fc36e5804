{{/* The name of all objects. */}}
{{- define "chancery.name" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains "chancery" .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-chancery" .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The name of the ServiceAccount. */}}
{{- define "chancery.account" -}}
{{- .Values.serviceAccount.name | default (include "chancery.name" .) -}}
{{- end -}}

{{/* The name of the Secret with the certificate authority. */}}
{{- define "chancery.authority" -}}
{{- if not .Values.authority.certManager.enabled -}}
{{- .Values.authority.secret | default (printf "%s-ca" (include "chancery.name" .)) -}}
{{- else if .Values.authority.secret -}}
{{- fail "authority.secret and authority.certManager.enabled exclude each other: the authority is in a Secret that is there, or in one that cert-manager makes" -}}
{{- else -}}
{{- /* Not the name that is used without it: cert-manager would write beside the authority that was made there. */ -}}
{{- printf "%s-ca-tls" (include "chancery.name" .) -}}
{{- end -}}
{{- end -}}

{{/* What Pods are selected by. A Deployment's can't be changed, so these never are. */}}
{{- define "chancery.selector" -}}
app.kubernetes.io/name: chancery
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The labels of Pods. */}}
{{- define "chancery.podLabels" -}}
{{ include "chancery.selector" . }}
app.kubernetes.io/component: control-plane
app.kubernetes.io/part-of: chancery
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The labels of all objects. */}}
{{- define "chancery.labels" -}}
{{ include "chancery.podLabels" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_") }}
{{- end -}}

{{/* The image with its tag or digest. */}}
{{- define "chancery.image" -}}
{{- with .Values.image -}}
{{- with .registry }}{{ . }}/{{ end }}{{ .repository }}
{{- if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end -}}

{{/* Who a role is bound to. */}}
{{- define "chancery.subjects" -}}
- kind: ServiceAccount
  name: {{ include "chancery.account" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{/* The rights to objects that are in namespaces. */}}
{{- define "chancery.rules" -}}
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
{{- if .Values.rbac.istio }}
- apiGroups: [networking.istio.io]
  resources: [destinationrules, virtualservices, sidecars, serviceentries, gateways, workloadentries, workloadgroups, envoyfilters, proxyconfigs]
  verbs: [list, watch]
- apiGroups: [security.istio.io]
  resources: [peerauthentications, authorizationpolicies, requestauthentications]
  verbs: [list, watch]
- apiGroups: [telemetry.istio.io]
  resources: [telemetries]
  verbs: [list, watch]
- apiGroups: [extensions.istio.io]
  resources: [wasmplugins]
  verbs: [list, watch]
{{- end }}
{{- if .Values.rbac.trafficSplit }}
- apiGroups: [split.smi-spec.io]
  resources: [trafficsplits]
  verbs: [list, watch]
{{- end }}
{{- if .Values.rbac.gatewayApi }}
- apiGroups: [gateway.networking.k8s.io]
  resources: [{{ if not .Values.watchNamespaces }}gatewayclasses, {{ end }}gateways, listenersets, httproutes, grpcroutes, tlsroutes, tcproutes, udproutes, backendtlspolicies, referencegrants]
  verbs: [list, watch]
- apiGroups: [gateway.networking.x-k8s.io]
  resources: [xbackends, xbackendtrafficpolicies{{ if not .Values.watchNamespaces }}, xmeshes{{ end }}]
  verbs: [list, watch]
{{- end }}
{{- if .Values.rbac.istio }}
- apiGroups: [networking.istio.io]
  resources: [destinationrules/status, virtualservices/status, sidecars/status, serviceentries/status, gateways/status, workloadentries/status, workloadgroups/status, envoyfilters/status, proxyconfigs/status]
  verbs: [patch]
- apiGroups: [security.istio.io]
  resources: [peerauthentications/status, authorizationpolicies/status, requestauthentications/status]
  verbs: [patch]
- apiGroups: [telemetry.istio.io]
  resources: [telemetries/status]
  verbs: [patch]
- apiGroups: [extensions.istio.io]
  resources: [wasmplugins/status]
  verbs: [patch]
{{- end }}
# What is trusted, for the proxies of each namespace.
- apiGroups: ['']
  resources: [configmaps]
  resourceNames: [chancery-root]
  verbs: [create, patch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end -}}
