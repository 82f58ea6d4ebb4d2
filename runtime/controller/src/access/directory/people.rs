//! Operators, and the tokens of their programs.

use drover_api::{ApiToken, NewApiToken, PutUser, Timestamp};

use super::{Change, Decision, Directory, Owner, Refusal, TokenRecord, UserRecord};
use crate::access::password::PasswordHash;
use crate::access::secret::{NewSecret, Shown};

/// The longest name of a user, and note of a token.
const MAX_TEXT: usize = 100;

impl Directory {
    /// Adds or changes a user. `password` is the hash of the new one.
    pub(crate) fn put_user(
        &self,
        asked: &PutUser,
        password: Option<PasswordHash>,
        now: Timestamp,
    ) -> Decision<()> {
        let PutUser { name, role, keys, .. } = asked;
        let is_word = |letter: char| letter.is_alphanumeric() || "-_.@".contains(letter);
        if name.is_empty() || name.len() > MAX_TEXT || !name.chars().all(is_word) {
            let text = "a user's name is made of letters, digits and `-_.@`";
            return Err(Refusal::wrong(text));
        }
        let former = self.user(name);
        let Some(role) = role.clone().or_else(|| former.map(|user| user.role.clone())) else {
            return Err(Refusal::wrong(format!(
                "there is no user `{name}`: a new one needs a role"
            )));
        };
        let keys = keys.clone().or_else(|| former.map(|user| user.keys.clone()));
        let keys = keys.unwrap_or_default();
        for key in &keys {
            match self.owner(key) {
                None => {}
                Some(Owner::User(owner)) if owner == name => {}
                Some(_) => {
                    return Err(Refusal::wrong(format!("somebody has the key {key} already")));
                }
            }
        }
        let user = UserRecord {
            name: name.clone(),
            role,
            password: password.or_else(|| former.and_then(|user| user.password.clone())),
            keys,
            since: former.map_or(now, |user| user.since),
        };
        Ok(((), vec![Change::User(user)]))
    }

    /// Removes a user with all tokens.
    pub(crate) fn remove_user(&self, name: &str) -> Decision<()> {
        if self.user(name).is_none() {
            return Err(Refusal::wrong(format!("there is no user `{name}`: `drover user list`")));
        }
        let tokens = self.tokens.values().filter(|record| record.token.user == name);
        let tokens = tokens.map(|record| Change::TokenGone(record.token.id.clone()));
        Ok(((), tokens.chain([Change::UserGone(name.to_owned())]).collect()))
    }

    /// Makes a token for `user`; the secret was just drawn.
    pub(crate) fn make_token(
        &self,
        user: &str,
        asked: &NewApiToken,
        secret: &NewSecret,
        now: Timestamp,
    ) -> Decision<ApiToken> {
        if self.user(user).is_none() {
            let text = format!(
                "there is no user `{user}`, and a token is always somebody's: `drover user add`"
            );
            return Err(Refusal::wrong(text));
        }
        if asked.life_ms == Some(0) || asked.uses == Some(0) {
            return Err(Refusal::wrong("a token lives for a while, and has at least one use"));
        }
        if asked.note.chars().count() > MAX_TEXT || asked.note.chars().any(char::is_control) {
            let text = format!("a note has up to {MAX_TEXT} characters, none of control");
            return Err(Refusal::wrong(text));
        }
        let token = ApiToken {
            id: secret.id.clone(),
            user: user.to_owned(),
            note: asked.note.clone(),
            role: asked.role.clone(),
            scope: asked.scope.clone(),
            since: now,
            expires: asked.life_ms.map(|life| Timestamp(now.0.saturating_add(life))),
            uses: asked.uses,
        };
        let record = TokenRecord { token: token.clone(), hash: secret.hash.clone() };
        let dead = self.tokens.values().map(|record| &record.token);
        let dead = dead.filter(|token| is_over(token, now));
        let mut changes: Vec<_> = dead.map(|token| Change::TokenGone(token.id.clone())).collect();
        changes.push(Change::Token(record));
        Ok((token, changes))
    }

    /// Withdraws a token, if it is one of `of`'s.
    pub(crate) fn remove_token(&self, id: &str, of: Option<&str>) -> Decision<()> {
        let token = self.token(id).map(|record| &record.token);
        if token.filter(|token| of.is_none_or(|user| token.user == user)).is_none() {
            return Err(Refusal::wrong(format!("there is no token `{id}`: `drover token list`")));
        }
        Ok(((), vec![Change::TokenGone(id.to_owned())]))
    }

    /// Whose token a text is, and one use less of it.
    pub(crate) fn use_token(&self, text: &str, now: Timestamp) -> Decision<ApiToken> {
        let unknown = || Refusal::denied("the token is unknown, withdrawn or used up");
        let shown = Shown::read(text).ok_or_else(unknown)?;
        let record = self.token(shown.id).filter(|record| shown.is(&record.hash));
        let record = record.ok_or_else(unknown)?;
        if record.token.expires.is_some_and(|expires| expires <= now) {
            return Err(Refusal::denied(
                "the token has expired: log in again, or make another one",
            ));
        }
        let changes = match record.token.uses {
            None => vec![],
            Some(0) => return Err(unknown()),
            Some(uses) => {
                let token = ApiToken { uses: Some(uses - 1), ..record.token.clone() };
                vec![Change::Token(TokenRecord { token, hash: record.hash.clone() })]
            }
        };
        Ok((record.token.clone(), changes))
    }
}

fn is_over(token: &ApiToken, now: Timestamp) -> bool {
    token.expires.is_some_and(|expires| expires <= now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn asked(name: &str) -> PutUser {
        PutUser { name: name.into(), role: Some("operator".into()), password: None, keys: None }
    }

    fn with_ada() -> Directory {
        let mut directory = Directory::default();
        let ada = PutUser { keys: Some(vec!["k1".into()]), ..asked("ada") };
        let ((), changes) = directory.put_user(&ada, None, NOW).unwrap();
        changes.into_iter().for_each(|change| directory.apply(change));
        directory
    }

    fn token(directory: &mut Directory, asked: &NewApiToken) -> String {
        let secret = NewSecret::draw();
        let (_, changes) = directory.make_token("ada", asked, &secret, NOW).unwrap();
        changes.into_iter().for_each(|change| directory.apply(change));
        secret.text.reveal().to_owned()
    }

    #[test]
    fn a_user_is_changed_in_what_is_told_and_keys_are_one_users() {
        let mut directory = with_ada();
        let change = PutUser { role: Some("viewer".into()), keys: None, ..asked("ada") };
        let ((), changes) = directory.put_user(&change, None, NOW).unwrap();
        changes.into_iter().for_each(|change| directory.apply(change));
        let ada = directory.user("ada").unwrap();
        assert_eq!((ada.role.as_str(), ada.keys.as_slice()), ("viewer", &["k1".to_owned()][..]));
        let thief = PutUser { keys: Some(vec!["k1".into()]), ..asked("eve") };
        assert!(directory.put_user(&thief, None, NOW).is_err());
        for wrong in ["", "a b", "a/b", &"x".repeat(200)] {
            assert!(directory.put_user(&asked(wrong), None, NOW).is_err(), "{wrong}");
        }
        let new = PutUser { role: None, ..asked("bob") };
        assert!(directory.put_user(&new, None, NOW).is_err(), "a new one needs a role");
    }

    #[test]
    fn a_token_counts_as_long_and_as_often_as_it_says() {
        let mut directory = with_ada();
        let text = token(&mut directory, &NewApiToken { uses: Some(2), ..Default::default() });
        for _ in 0..2 {
            let (used, changes) = directory.use_token(&text, NOW).unwrap();
            assert_eq!(used.user, "ada");
            changes.into_iter().for_each(|change| directory.apply(change));
        }
        assert!(directory.use_token(&text, NOW).is_err());

        let text = token(&mut directory, &NewApiToken { life_ms: Some(10), ..Default::default() });
        assert!(directory.use_token(&text, Timestamp(NOW.0 + 9)).is_ok());
        let refusal = directory.use_token(&text, Timestamp(NOW.0 + 10)).unwrap_err();
        assert!(refusal.text.contains("expired") && !refusal.text.contains(&text), "{refusal}");
    }

    #[test]
    fn a_users_tokens_go_with_the_user() {
        let mut directory = with_ada();
        let text = token(&mut directory, &NewApiToken::default());
        let id = directory.tokens(None).remove(0).id;
        assert!(directory.remove_token(&id, Some("bob")).is_err(), "it is Ada's");
        let ((), changes) = directory.remove_user("ada").unwrap();
        changes.into_iter().for_each(|change| directory.apply(change));
        assert!(directory.use_token(&text, NOW).is_err());
        assert_eq!(directory.owner("k1"), None);
        assert!(
            directory.make_token("ada", &NewApiToken::default(), &NewSecret::draw(), NOW).is_err()
        );
    }
}
