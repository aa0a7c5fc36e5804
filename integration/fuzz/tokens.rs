//! Tokens nobody issued, and sets of keys nobody published: none is believed for somebody it was not issued for.

use crate::mutation::fuzz;
use chancery::model::identity::{BoundPod, Identity};
use chancery::tokens::issuer::{ISSUER, Issuer};
use chancery::tokens::keys::Keys;
use chancery::tokens::{Rules, verify};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

const NOW: u64 = 1_800_000_000;
const HOUR: Duration = Duration::from_secs(3600);

fn issuer() -> Issuer {
    Issuer::of_pem(&Issuer::new_key().expect("a key")).expect("an issuer")
}

fn cart() -> Identity {
    let pod = BoundPod { name: "cart-1".into(), uid: "4f1c".into() };
    Identity { pod: Some(pod), ..Identity::new("shop".into(), "cart".into()) }
}

fn rules() -> Rules {
    Rules { issuer: Some(ISSUER.into()), audience: "chancery".into() }
}

/// A good one, and others that are not believed for one reason each.
fn tokens(issuer: &Issuer) -> Vec<Vec<u8>> {
    let stranger = self::issuer();
    [
        (issuer, "chancery", NOW),
        (issuer, "somebody", NOW),
        (issuer, "chancery", NOW - 7200),
        (issuer, "chancery", NOW + 7200),
        (&stranger, "chancery", NOW),
    ]
    .map(|(issuer, audience, now)| issuer.issue(&cart(), audience, now, HOUR).expect("a token").into_bytes())
    .into()
}

#[test]
fn tokens_of_any_bytes() {
    let issuer = issuer();
    let (keys, corpus, reasons) = (issuer.keys(), tokens(&issuer), RefCell::new(BTreeSet::new()));
    fuzz("tokens", corpus, |bytes| {
        let Ok(token) = std::str::from_utf8(bytes) else { return };
        match verify(token, &keys, &rules(), NOW) {
            Ok(proof) => assert_eq!((proof.identity, proof.until), (cart(), NOW + 3600)),
            Err(distrust) => {
                assert!(distrust.to_string().len() < 20_000, "{distrust}");
                reasons.borrow_mut().insert(distrust.reason());
            }
        }
    });
    let reasons = reasons.into_inner();
    assert!(reasons.len() >= 6, "only refused for {reasons:?}");
}

/// Public keys in the form in which an API server tells them.
const KEYS: &[&str] = &[
    r#"{"keys":[{"kty":"EC","crv":"P-256","use":"sig","kid":"1","alg":"ES256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#,
    r#"{"keys":[{"kty":"RSA","use":"sig","kid":"2","alg":"RS256","e":"AQAB","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"}]}"#,
    r#"{"keys":[{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"},{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
];

#[test]
fn sets_of_keys_of_any_bytes() {
    let tokens: Vec<String> =
        tokens(&issuer()).into_iter().map(|token| String::from_utf8(token).expect("text")).collect();
    let corpus: Vec<Vec<u8>> = KEYS.iter().map(|set| set.as_bytes().to_vec()).collect();
    let read = RefCell::new(0);
    fuzz("sets of keys", corpus, |bytes| {
        let Ok(keys) = Keys::of_jwks(bytes) else { return };
        *read.borrow_mut() += 1;
        let believed = tokens.iter().find(|token| verify(token, &keys, &rules(), NOW).is_ok());
        assert!(believed.is_none(), "a token of somebody else is believed");
    });
    assert!(read.into_inner() > 20, "hardly any was read");
}
