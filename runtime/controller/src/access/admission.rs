//! Who is let in: by a key, a password or a token.

use std::net::IpAddr;

use drover_api::{ApiToken, NEWCOMER, Timestamp};
use drover_wamp::{Applicant, Guest, Proof, PublicKey, Refused, Secret, uri};
use tokio::task::spawn_blocking;

use super::badge::Badge;
use super::directory::{Owner, Refusal};
use super::password::PasswordHash;
use super::{Access, NEWCOMERS, NODES, roles, secret};
use crate::audit::Act;

impl Access {
    /// Lets a guest in, or counts and notes that it may not join.
    pub(super) async fn decide(&self, applicant: Applicant) -> Result<Guest, Refused> {
        let peer = applicant.peer;
        self.check_attempts(peer.ip())?;
        let (who, what) = (claimed_name(&applicant), way_in(&applicant.proof));
        let counted = self.0.counts.of(&applicant.proof);
        let decided = match applicant.proof {
            Proof::Key(key) => self.admit_key(&key, applicant.role.as_deref()).await,
            Proof::Ticket(secret) => self.admit_ticket(applicant.authid, secret).await,
        };
        let result = match &decided {
            Ok(guest) => match applicant.role.filter(|role| *role != guest.role) {
                Some(role) => Err(denied(format!(
                    "the role `{}` is not yours, but `{}`",
                    role.chars().take(100).collect::<String>(),
                    guest.role
                ))),
                None => Ok(()),
            },
            Err(refused) => Err(refused.clone()),
        };
        match result {
            Ok(()) => {
                counted.admitted.one();
                decided
            }
            Err(refused) => {
                counted.refused.one();
                self.failed(peer.ip());
                self.denied_to_join(who, what, peer.ip());
                Err(refused)
            }
        }
    }

    /// Notes that somebody may not join.
    pub(super) fn denied_to_join(&self, who: String, what: &str, from: IpAddr) {
        let (role, from, on) = (String::new(), from.to_string(), String::new());
        self.0.audit.done(Act { who, role, from, what: what.to_owned(), on }, "denied");
    }

    async fn admit_key(&self, key: &PublicKey, role: Option<&str>) -> Result<Guest, Refused> {
        let text = key.to_string();
        if role == Some(NEWCOMER) {
            // Whoever is a node already is told so when it asks to become one.
            return Ok(Guest {
                authid: format!("{NEWCOMERS}{text}"),
                role: NEWCOMER.to_owned(),
                permissions: roles::of_newcomer(),
                badge: Badge::Newcomer.to_string(),
            });
        }
        let owner = self.directory().owner(&text).cloned();
        match owner {
            None => Err(denied("cryptosign: the key is not known here".to_owned())),
            Some(Owner::User(name)) => self.guest(&name, None, &Badge::User),
            Some(Owner::Node(node)) => {
                let known = self.directory().node(node).cloned();
                let Some(known) = known.filter(|known| known.revoked.is_none()) else {
                    return Err(denied(format!("the node {node} was revoked")));
                };
                if known.keys.len() > 1 {
                    let access = self.clone();
                    let settled = self
                        .blocking(move || {
                            access.change(|directory| {
                                let change = directory.settle_key(node, &text);
                                Ok(((), change.into_iter().collect()))
                            })
                        })
                        .await;
                    settled?;
                }
                Ok(Guest {
                    authid: format!("{NODES}{node}"),
                    role: roles::NODE.to_owned(),
                    permissions: roles::of_node(node),
                    badge: Badge::Node.to_string(),
                })
            }
        }
    }

    pub(super) async fn admit_ticket(
        &self,
        authid: Option<String>,
        secret: Secret,
    ) -> Result<Guest, Refused> {
        let now = Timestamp::now();
        let text = secret.reveal();
        if secret::Shown::read(text).is_some() {
            let token = {
                let used = self.directory().use_token(text, now);
                used.map_err(|refusal| denied(refusal.text))
            };
            let token = match token? {
                (token, changes) if changes.is_empty() => token,
                // One that counts its uses is decided on again, one use at a time.
                _ => {
                    let access = self.clone();
                    let secret = secret.clone();
                    let used = move || {
                        access.change(|directory| directory.use_token(secret.reveal(), now))
                    };
                    self.blocking(used).await?
                }
            };
            let ApiToken { id, user, role, .. } = token;
            return self.guest(&user, role, &Badge::Token(id));
        }
        let wrong = || denied("ticket: the name is unknown, or the proof is wrong".to_owned());
        let Some(authid) = authid else { return Err(wrong()) };
        let user = self.directory().user(&authid).cloned();
        let known = user.and_then(|user| user.password).unwrap_or_else(PasswordHash::of_nobody);
        let Ok(_permit) = self.0.hashing.acquire().await else { return Err(wrong()) };
        let is_right = spawn_blocking(move || known.is(&secret)).await.unwrap_or(false);
        match is_right {
            true => self.guest(&authid, None, &Badge::User),
            false => Err(wrong()),
        }
    }

    /// An operator who has proved to be one.
    fn guest(&self, name: &str, role: Option<String>, badge: &Badge) -> Result<Guest, Refused> {
        let of_user = self.directory().user(name).map(|user| user.role.clone());
        let Some(role) = role.or(of_user) else {
            return Err(denied("the user is not there any more".to_owned()));
        };
        let Some(rights) = self.rights(&role) else {
            let text = format!(
                "the role `{role}` is not there: the controller's configuration has [roles.{role}]"
            );
            return Err(denied(text));
        };
        let (authid, badge) = (name.to_owned(), badge.to_string());
        Ok(Guest { authid, role, permissions: rights.permissions, badge })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
    ) -> Result<T, Refused> {
        let failed = |error: anyhow::Error| match error.downcast::<Refusal>() {
            Ok(refusal) => denied(refusal.text),
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "cannot change who may join");
                denied("the controller cannot write down who may join: see its log".to_owned())
            }
        };
        match spawn_blocking(work).await {
            Ok(done) => done.map_err(failed),
            Err(error) => Err(failed(error.into())),
        }
    }
}

fn denied(text: String) -> Refused {
    Refused { uri: uri::error::AUTHENTICATION_DENIED, text, retry_in: None }
}

/// Who somebody says they are, for the audit log. A token is nothing to be shown.
fn claimed_name(applicant: &Applicant) -> String {
    match (&applicant.authid, &applicant.proof) {
        (_, Proof::Key(key)) => key.to_string(),
        (Some(authid), _) => shown_name(authid),
        _ => "?".to_owned(),
    }
}

/// A name that somebody sent, fit to be shown. A token is none.
pub(super) fn shown_name(authid: &str) -> String {
    if secret::Shown::read(authid).is_some() {
        return "?".to_owned();
    }
    authid.chars().take(100).filter(|letter| !letter.is_control()).collect()
}

fn way_in(proof: &Proof) -> &'static str {
    match proof {
        Proof::Key(_) => "join by key",
        Proof::Ticket(_) => "join by password or token",
    }
}
