//! Who may see what at the admin port: the one place that decides it, for who asks and the page that is asked for.
//!
//! It is decided before a page is begun. A page about objects gets the decision as a [`Viewer`] and shows nothing that this
//! may not see. There is one way to prove who somebody is, that of the door for proxies, and what is not believed here is held
//! against an address there as well; but nobody waits for a visitor's token there.

use super::AdminContext;
use crate::model::identity::Identity;
use crate::model::name::{Name, Namespace};
use crate::xds::trust::{Examiner, Presented, THROTTLED, Token, Unproven};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// What somebody who shows nothing is told.
const ASKED: &str = "this asks who you are: show the token of a service account, as \"authorization: Bearer TOKEN\"";
/// What somebody is told who shows something that nobody here can look at.
const NOBODY: &str = "nobody can prove anything here, because there is no secure port for proxies";
/// What somebody is told from whose address too much came that was not believed.
const MISTRUSTED: &str = "too much from this address was not believed: nothing from there is looked at for a while";

/// Who may see what a page shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shows {
    /// Whoever asks: nothing of the configuration is on it, and who has to read it has no credential.
    Process,
    /// Whoever has proven who it is, of its own namespace; operators everything.
    Namespaces,
    /// Operators: it is about the whole cluster.
    Cluster,
}

/// The service accounts that see everything.
pub type Operators = BTreeSet<(Namespace, Name)>;

/// Whether visitors are asked who they are.
#[derive(Clone, Debug)]
pub enum Guard {
    /// Nobody is: whoever reaches the port sees everything.
    Open,
    /// They are.
    Asking {
        /// Who looks at what they present; nobody, where there is no secure port.
        examiner: Option<Examiner>,
        /// Who sees everything.
        operators: Operators,
    },
}

/// Whose objects somebody may see.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Viewer {
    /// Everybody's.
    Operator,
    /// Those of one namespace.
    Workload(Namespace),
}

impl Viewer {
    /// Whether it may see what is in a namespace.
    pub fn sees(&self, namespace: &str) -> bool {
        match self {
            Viewer::Operator => true,
            Viewer::Workload(own) => own.as_str() == namespace,
        }
    }
}

impl Guard {
    /// Who asks, as far as that page goes, and from where.
    async fn admit(&self, shows: Shows, token: Option<&Token>, from: IpAddr) -> Result<Viewer, Refused> {
        let Guard::Asking { examiner, operators } = self else { return Ok(Viewer::Operator) };
        let (token, examiner) = match (token, examiner) {
            (None, _) => return Err(Refused::unknown("no_credential", ASKED.to_owned())),
            (Some(_), None) => return Err(Refused::unknown("no_verifier", NOBODY.to_owned())),
            (Some(token), Some(examiner)) => (token, examiner),
        };
        let presented = Presented { token: Some(token), ..Presented::default() };
        let proven = examiner.examine(presented, Some(from)).await.map_err(|unproven| match unproven {
            Unproven::Throttled => Refused::throttled(),
            Unproven::Distrusted(distrusted) => {
                let logged = Some(distrusted.logged().into_owned());
                Refused { logged, ..Refused::unknown(distrusted.reason, distrusted.text) }
            }
        })?;
        let Identity { namespace, service_account, .. } = proven.identity;
        match (operators.contains(&(namespace.clone(), service_account.clone())), shows) {
            (true, _) => Ok(Viewer::Operator),
            (false, Shows::Cluster) => Err(Refused::denied(&namespace, &service_account)),
            (false, _) => Ok(Viewer::Workload(namespace)),
        }
    }
}

/// Why somebody is not shown a page.
struct Refused {
    code: StatusCode,
    reason: &'static str,
    text: String,
    /// What the log says in place of the text.
    logged: Option<String>,
}

impl Refused {
    fn unknown(reason: &'static str, text: String) -> Self {
        Self { code: StatusCode::UNAUTHORIZED, reason, text, logged: None }
    }

    fn throttled() -> Self {
        let text = MISTRUSTED.to_owned();
        Self { code: StatusCode::TOO_MANY_REQUESTS, reason: THROTTLED, text, logged: None }
    }

    fn denied(namespace: &Namespace, account: &Name) -> Self {
        let text = format!("this is for operators; --operators does not name {namespace}/{account}");
        Self { code: StatusCode::FORBIDDEN, reason: "denied", text, logged: None }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let text = format!("{}\n", self.text);
        match self.code {
            StatusCode::UNAUTHORIZED => (self.code, [(header::WWW_AUTHENTICATE, "Bearer")], text).into_response(),
            code => (code, text).into_response(),
        }
    }
}

/// Goes on to a page with who asks, or says why not.
pub async fn ask(
    State((context, shows)): State<(AdminContext, Shows)>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    let token = Token::carried(request.headers());
    match context.guard.admit(shows, token.as_ref(), peer.ip()).await {
        Ok(viewer) => {
            request.extensions_mut().insert(viewer);
            next.run(request).await
        }
        Err(refused) => {
            context.metrics.security.visitor_refused(refused.reason);
            let said = refused.logged.as_ref().unwrap_or(&refused.text);
            let others = context.registry.complaints().visitors.hear(said, Some(peer.ip()), Instant::now());
            if let Some(others) = others {
                tracing::warn!(
                    %peer,
                    reason = refused.reason,
                    others = others.times,
                    peers = others.peers,
                    among = ?others.among,
                    left_out = others.left_out,
                    "refused a visitor: {said}"
                );
            }
            refused.into_response()
        }
    }
}
