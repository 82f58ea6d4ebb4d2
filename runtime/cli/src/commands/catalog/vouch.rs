//! Whether what the controller lists is what somebody with a key has signed:
//! pure. Whoever signs a statement vouches for each version in it, and must not
//! take the controller's word.

use drover_signing::{Claim, PublicKey, Signature, VersionStatement};

/// Says why a version is not known to be what a key of `keys` has signed; none
/// if it is. The content need not be there for that: its hash is in the claim.
pub(super) fn doubt(
    name: &str,
    version: &str,
    stated: VersionStatement,
    signature: &str,
    keys: &[PublicKey],
) -> Option<String> {
    let signature: Signature = match signature.parse() {
        Ok(signature) => signature,
        Err(error) => return Some(format!("it has no signature: {error}")),
    };
    let id = signature.key_id();
    let Some(key) = keys.iter().find(|key| key.id() == id) else {
        return Some(format!("it is signed with the key {id}: --trust names those of others"));
    };
    if key.verify_comment(&signature).is_err() {
        return Some(format!("it says that the key {id} has signed it, which is not so"));
    }
    match Claim::parse(signature.trusted_comment()) {
        Ok(Some(claim)) => {
            let checked = claim.check(name, version, (stated.hash, stated.length));
            checked.err().map(|error| error.to_string())
        }
        Ok(None) => Some(
            "its signature does not say what it is: sign it with `drover sign` and push it again"
                .to_owned(),
        ),
        Err(error) => Some(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use drover_signing::{ContentHash, SecretKey, StoredKey, generate};

    use super::*;

    fn key() -> SecretKey {
        let (_, secret) = generate(None).unwrap();
        let StoredKey::Open(secret) = secret.parse().unwrap() else { panic!("it is locked") };
        secret
    }

    fn stated(content: &[u8]) -> VersionStatement {
        let (hash, length) = (ContentHash::of(content), content.len() as u64);
        VersionStatement { hash, length, is_yanked: false }
    }

    #[test]
    fn only_what_a_known_key_has_claimed_is_beyond_doubt() {
        let (own, other) = (key(), key());
        let keys = [own.public_key()];
        let VersionStatement { hash, length, .. } = stated(b"good");
        let (name, version) = ("hello".to_owned(), "1.2.0".to_owned());
        let claim = Claim { name, version, hash, length }.to_string();
        let sign = |key: &SecretKey, comment: &str| key.sign(&b"good"[..], comment).unwrap();
        let doubt = |signature: &str, stated| doubt("hello", "1.2.0", stated, signature, &keys);

        let good = sign(&own, &claim).to_string();
        assert_eq!(doubt(&good, stated(b"good")), None);
        // The controller lists other content under the old signature.
        let swapped = doubt(&good, stated(b"evil")).unwrap();
        assert!(swapped.contains("for other content"), "{swapped}");
        let changed = good.replace("1.2.0", "1.3.0");
        assert!(doubt(&changed, stated(b"good")).unwrap().contains("which is not so"));
        let strange = doubt(&sign(&other, &claim).to_string(), stated(b"good")).unwrap();
        assert!(strange.contains("--trust names"), "{strange}");
        let silent = doubt(&sign(&own, "by hand").to_string(), stated(b"good")).unwrap();
        assert!(silent.contains("does not say what it is"), "{silent}");
        assert!(doubt("", stated(b"good")).unwrap().contains("no signature"));
    }
}
