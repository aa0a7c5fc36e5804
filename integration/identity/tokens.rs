//! Which tokens are believed: those of Kubernetes' form, signed with a known key, at their time, for us.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chancery::model::identity::{BoundPod, Identity};
use chancery::tokens::issuer::{ISSUER, Issuer};
use chancery::tokens::keys::Keys;
use chancery::tokens::{Distrust, MAX_TOKEN, Rules, verify};
use proptest::prelude::*;
use rcgen::KeyPair;
use serde_json::{Value, json};
use std::time::Duration;

const NOW: u64 = 1_800_000_000;
const HOUR: Duration = Duration::from_secs(3600);

fn cart() -> Identity {
    let pod = BoundPod { name: "cart-1".into(), uid: "4f1c".into() };
    Identity { pod: Some(pod), ..Identity::new("shop".into(), "cart".into()) }
}

fn issuer() -> Issuer {
    Issuer::of_pem(&Issuer::new_key().expect("a key")).expect("an issuer")
}

fn rules() -> Rules {
    Rules { issuer: Some(ISSUER.into()), audience: "chancery".into() }
}

fn token(issuer: &Issuer) -> String {
    issuer.issue(&cart(), "chancery", NOW, HOUR).expect("a token")
}

/// The claims of a token, changed.
fn altered(token: &str, change: impl FnOnce(&mut Value)) -> String {
    let parts: Vec<&str> = token.split('.').collect();
    let mut claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).expect("base64")).expect("claims");
    change(&mut claims);
    format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(claims.to_string()), parts[2])
}

#[test]
fn a_good_token_says_who_has_it_and_until_when() {
    let issuer = issuer();
    let proof = verify(&token(&issuer), &issuer.keys(), &rules(), NOW + 10).expect("it is believed");
    assert_eq!((proof.identity, proof.until), (cart(), NOW + 3600));
}

#[test]
fn every_other_is_refused_with_its_reason() {
    let (issuer, other) = (issuer(), self::issuer());
    let good = token(&issuer);
    let at = |token: &str, now| verify(token, &issuer.keys(), &rules(), now).expect_err("it is not believed");
    assert_eq!(at(&good, NOW + 3600 + 61), Distrust::Expired);
    assert_eq!(at(&good, NOW - 601), Distrust::Early);
    assert!(verify(&good, &issuer.keys(), &rules(), NOW + 3600 + 59).is_ok(), "clocks differ a little");
    for skewed in [NOW - 600, NOW + 600] {
        assert!(verify(&good, &issuer.keys(), &rules(), skewed).is_ok(), "a fresh one is good ten minutes off");
    }
    assert_eq!(at(&token(&other), NOW), Distrust::UnknownKey);
    let foreign = issuer.issue(&cart(), "vault", NOW, HOUR).expect("a token");
    assert_eq!(at(&foreign, NOW), Distrust::Audience("chancery".into()));
    let strict = Rules { issuer: Some("https://kubernetes.default.svc".into()), ..rules() };
    let refused = verify(&good, &issuer.keys(), &strict, NOW).expect_err("another issuer");
    assert_eq!(refused, Distrust::Issuer("https://kubernetes.default.svc".into()));
    assert_eq!(at(&"a".repeat(MAX_TOKEN + 1), NOW), Distrust::TooLong);
    for nonsense in ["", "a.b.c", "Bearer", "..", &good[..good.len() / 2]] {
        assert_eq!(at(nonsense, NOW), Distrust::Malformed, "{nonsense}");
    }
    let raised = altered(&good, |claims| claims["kubernetes.io"]["namespace"] = json!("bank"));
    assert_eq!(at(&raised, NOW), Distrust::Signature);
    // Nothing that was presented is told.
    assert!(!at(&raised, NOW).to_string().contains("bank"));
}

#[test]
fn an_unsigned_token_is_none() {
    let issuer = issuer();
    let parts: Vec<String> = token(&issuer).split('.').map(str::to_owned).collect();
    for algorithm in ["none", "HS256"] {
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": algorithm, "typ": "JWT"}).to_string());
        let token = format!("{header}.{}.", parts[1]);
        let refused = verify(&token, &issuer.keys(), &rules(), NOW).expect_err(algorithm);
        assert!(matches!(refused, Distrust::Malformed | Distrust::UnknownKey), "{algorithm}: {refused:?}");
    }
}

#[test]
fn claims_of_another_type_are_none() {
    // The library takes a time that is a text for none; ours has types.
    for (claim, value) in
        [("exp", json!("never")), ("nbf", json!("soon")), ("aud", json!(7)), ("kubernetes.io", json!({}))]
    {
        let (issuer, key) = signed_by_hand(claim, &value);
        let refused = verify(&issuer, &key, &rules(), NOW).expect_err(claim);
        assert_eq!(refused, Distrust::Malformed, "{claim}");
    }
    let (good, key) = signed_by_hand("jti", &json!("more"));
    assert!(verify(&good, &key, &rules(), NOW).is_ok(), "the control: what is not known is no matter");
}

/// A token with one claim replaced, signed all the same, and the key as a JSON Web Key Set.
fn signed_by_hand(claim: &str, value: &Value) -> (String, Keys) {
    let pair = KeyPair::generate().expect("a key");
    let point = pair.public_key_raw();
    let coordinate = |at: usize| URL_SAFE_NO_PAD.encode(&point[at..at + 32]);
    let jwk = json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": "k", "x": coordinate(1), "y": coordinate(33)});
    let secret = json!({"kty": "oct", "k": "c2VjcmV0", "kid": "k"});
    let keys = Keys::of_jwks(json!({"keys": [secret, jwk]}).to_string().as_bytes()).expect("keys");
    let mut claims = json!({
        "iss": ISSUER, "aud": ["chancery"], "sub": "system:serviceaccount:shop:cart", "exp": NOW + 60, "nbf": NOW,
        "kubernetes.io": {"namespace": "shop", "serviceaccount": {"name": "cart", "uid": "1"}},
    });
    claims[claim] = value.clone();
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", encode(&json!({"alg": "ES256", "kid": "k"})), encode(&claims));
    let der = pair.serialize_der();
    let random = ring::rand::SystemRandom::new();
    let signing = &ring::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
    let pair = ring::signature::EcdsaKeyPair::from_pkcs8(signing, &der, &random).expect("a key");
    let signature = pair.sign(&random, message.as_bytes()).expect("a signature");
    (format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())), keys)
}

#[test]
fn a_subject_that_contradicts_the_rest_is_refused() {
    let (token, keys) = signed_by_hand("sub", &json!("system:serviceaccount:bank:vault"));
    assert_eq!(verify(&token, &keys, &rules(), NOW), Err(Distrust::Malformed));
}

#[test]
fn a_set_without_usable_keys_is_refused() {
    for (text, said) in [("[]", "not a JSON Web Key Set"), (r#"{"keys": []}"#, "has no RSA and no elliptic curve key")]
    {
        let error = Keys::of_jwks(text.as_bytes()).map(drop).expect_err(text).to_string();
        assert!(error.contains(said), "{error}");
    }
}

proptest! {
    #[test]
    fn no_text_ends_it_all(text in ".{0,200}", cut in 0usize..400) {
        let issuer = issuer();
        _ = verify(&text, &issuer.keys(), &rules(), NOW);
        let good = token(&issuer);
        let mixed = format!("{}{text}", &good[..cut.min(good.len())]);
        prop_assert!(verify(&mixed, &issuer.keys(), &rules(), NOW).is_err() || mixed == good);
    }
}
