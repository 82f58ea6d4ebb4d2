//! The procedures by which people and agents change who may join: a WAMP session.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use drover_api::{
    AccessName, Approve, AuditQuery, Claim, ClaimCode, Enrol, Enrolled, ErrorCode, LabelNode,
    MadeToken, NEWCOMER, NewApiToken, NewJoinToken, NodeId, PutUser, RotateKey, Timestamp, WhoAmI,
    procedures,
};
use drover_wamp::{
    ApplicationError, CallOptions, Client, CloseReason, Invocation, MatchPolicy, Payload,
    Principal, PublicKey, RegisterOptions, Router, Secret,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;

use super::directory::Refusal;
use super::directory::nodes::Approval;
use super::password::PasswordHash;
use super::secret::NewSecret;
use super::{Access, NEWCOMERS, NODES, roles};
use crate::calls::{Answer, argument, encode, unless_cancelled};
use crate::refusal::refuse;

/// Calls that are answered at the same time, those that wait for approval not counted.
const CALLS_AT_ONCE: usize = 32;

/// How long somebody waits for approval.
const CLAIM_LIFE: Duration = Duration::from_secs(3600);

/// How many may wait for approval.
const MAX_CLAIMS: usize = 200;

/// How long ending sessions may take.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// The letters of a code: none that looks like another.
const LETTERS: &[u8; 31] = b"23456789ABCDEFGHJKLMNPQRSTUVWXY";

/// Somebody who waits for approval.
#[derive(Debug)]
struct Waiting {
    claim: Claim,
    wanted: NodeId,
    approved: oneshot::Sender<Enrolled>,
}

/// What the task that owns the claims is asked.
#[derive(Debug)]
enum Ask {
    /// Adds one, in the place of an earlier one of the same key.
    Add(Box<Waiting>, oneshot::Sender<bool>),
    /// Lists them.
    List(oneshot::Sender<Vec<Claim>>),
    /// Takes one out.
    Take(String, oneshot::Sender<Option<Waiting>>),
    /// Forgets one that nobody waits for any more.
    Forget(String),
}

/// What every answer needs.
#[derive(Clone)]
struct Service {
    access: Access,
    session: Client,
    claims: mpsc::Sender<Ask>,
}

/// Serves in a realm of `router` until `stop` is cancelled. A session that is
/// killed by somebody who may do that is followed by another one.
///
/// # Errors
///
/// If there is no such realm, or the router refuses a registration.
pub(crate) async fn run(
    router: Router,
    realm: String,
    access: Access,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut calls = JoinSet::new();
    let (claims, asked) = mpsc::channel(CALLS_AT_ONCE);
    let mut keeping = JoinSet::new();
    keeping.spawn(keep_claims(asked));
    loop {
        let session = router.attach(&realm).context("cannot join the own router")?;
        let service = Service { access: access.clone(), session, claims: claims.clone() };
        match service.serve(&mut calls, &stop).await? {
            Some(reason) => {
                tracing::warn!(%reason, "access lost its session and opens another one");
            }
            None => {
                service.session.close().await;
                break;
            }
        }
    }
    calls.shutdown().await;
    keeping.shutdown().await;
    Ok(())
}

/// Owns the claims.
async fn keep_claims(mut asked: mpsc::Receiver<Ask>) {
    let mut waiting = BTreeMap::<String, Waiting>::new();
    while let Some(ask) = asked.recv().await {
        waiting.retain(|_, one| !one.approved.is_closed());
        match ask {
            Ask::Add(one, answer) => {
                waiting.retain(|_, other| other.claim.key != one.claim.key);
                let has_room = waiting.len() < MAX_CLAIMS;
                if has_room {
                    waiting.insert(one.claim.code.clone(), *one);
                }
                let _ = answer.send(has_room);
            }
            Ask::List(answer) => {
                let claims = waiting.values().map(|one| one.claim.clone()).collect();
                let _ = answer.send(claims);
            }
            Ask::Take(code, answer) => {
                let _ = answer.send(waiting.remove(&code));
            }
            Ask::Forget(code) => {
                waiting.remove(&code);
            }
        }
    }
}

impl Service {
    /// Serves until `stop` is cancelled, or the session ends; then says why.
    async fn serve(
        &self,
        calls: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<CloseReason>> {
        let session = &self.session;
        let all = || RegisterOptions { policy: MatchPolicy::Prefix, ..RegisterOptions::default() };
        let set_up = async {
            let access = session.register(procedures::ACCESS, all()).await;
            let audit = session.register(procedures::AUDIT, all()).await;
            anyhow::Ok((
                access.context("cannot register who may join")?,
                audit.context("cannot register the audit log")?,
            ))
        };
        let (mut access, mut audit) = tokio::select! {
            reason = session.closed() => return Ok(Some(reason)),
            ready = set_up => ready?,
        };
        loop {
            let has_room = calls.len() < CALLS_AT_ONCE + MAX_CLAIMS;
            let call = tokio::select! {
                () = stop.cancelled() => return Ok(None),
                reason = session.closed() => return Ok(Some(reason)),
                Some(answered) = calls.join_next() => {
                    answered.context("answering a call about access panicked")?;
                    continue;
                }
                Some(call) = access.next(), if has_room => call,
                Some(call) = audit.next(), if has_room => call,
            };
            let service = self.clone();
            calls.spawn(async move { service.answer(call).await });
        }
    }

    async fn answer(self, call: Invocation) {
        let answer = unless_cancelled(&call, self.carry_out(&call)).await;
        call.finish(answer).await;
    }

    async fn carry_out(&self, call: &Invocation) -> Answer {
        let caller = call.caller.as_deref();
        match call.procedure.as_str() {
            procedures::ACCESS_JOIN_TOKEN => self.join_token(argument(call)?, &name(caller)).await,
            procedures::ACCESS_ENROL => self.enrol(call, newcomer(caller)?, argument(call)?).await,
            procedures::ACCESS_CLAIMS => encode(&self.claims().await),
            procedures::ACCESS_APPROVE => self.approve(argument(call)?, &name(caller)).await,
            procedures::ACCESS_NODES => encode(&self.access.directory().nodes()),
            procedures::ACCESS_REVOKE => self.revoke(argument(call)?).await,
            procedures::ACCESS_TICKET => {
                let (ticket, expires) = self.access.ticket();
                let (id, token) = ("files".to_owned(), ticket.reveal().to_owned());
                encode(&MadeToken { id, token, expires: Some(expires) })
            }
            procedures::ACCESS_LABEL => self.label(argument(call)?).await,
            procedures::ACCESS_ROTATE => self.rotate(caller, argument(call)?).await,
            procedures::ACCESS_USERS => encode(&self.access.directory().users()),
            procedures::ACCESS_PUT_USER => self.put_user(argument(call)?).await,
            procedures::ACCESS_REMOVE_USER => self.remove_user(argument(call)?).await,
            procedures::ACCESS_PASSWORD => self.password(caller, argument(call)?).await,
            procedures::ACCESS_TOKENS => {
                encode(&self.access.directory().tokens(self.only_own(caller).as_deref()))
            }
            procedures::ACCESS_NEW_TOKEN => self.new_token(caller, argument(call)?).await,
            procedures::ACCESS_REMOVE_TOKEN => self.remove_token(caller, argument(call)?).await,
            procedures::ACCESS_WHO_AM_I => encode(&WhoAmI {
                user: name(caller),
                role: caller.map_or_else(String::new, |caller| caller.authrole.clone()),
            }),
            procedures::AUDIT_LIST => self.audit_list(argument(call)?).await,
            procedures::AUDIT_VERIFY => {
                let audit = self.access.audit().clone();
                encode(&blocking(move || audit.verify()).await?)
            }
            other => Err(refuse(ErrorCode::UnknownCommand, format!("there is no {other}"))),
        }
    }

    async fn join_token(&self, wanted: NewJoinToken, by: &str) -> Answer {
        let (access, by) = (self.access.clone(), by.to_owned());
        let made = blocking(move || {
            let secret = NewSecret::draw();
            let now = Timestamp::now();
            let expires =
                access.change(|known| known.make_join_token(&wanted, &by, &secret, now))?;
            let token = secret.text.reveal().to_owned();
            Ok(MadeToken { id: secret.id, token, expires: Some(expires) })
        });
        encode(&made.await?)
    }

    /// Makes a node of whoever has this key: by a token at once, else when
    /// somebody approves it.
    async fn enrol(&self, call: &Invocation, key: String, asked: Enrol) -> Answer {
        let is_known = self.access.directory().enrolled(&key).map_err(in_words)?.is_some();
        if asked.token.is_some() || is_known {
            let access = self.access.clone();
            let (by, name) = (key.clone(), asked.name.clone());
            let enrolled =
                blocking(move || access.change(|known| known.enrol(&by, &asked, Timestamp::now())));
            let enrolled = enrolled.await?;
            tracing::info!(node = %enrolled.node, name, "an agent was let in as a node");
            return encode(&enrolled);
        }
        if !self.access.policy().claims {
            let text = "this controller lets nobody in without a join token: `drover node token` \
                        makes one, or its admin sets `access.claims = true`";
            return Err(refuse(ErrorCode::Denied, text.to_owned()));
        }
        let code = draw_code();
        let expires = Timestamp(Timestamp::now().0 + CLAIM_LIFE.as_secs() * 1000);
        let claim = Claim {
            code: code.clone(),
            name: asked.name.chars().filter(|letter| !letter.is_control()).take(100).collect(),
            key,
            expires,
        };
        let (approved, approval) = oneshot::channel();
        let waiting = Box::new(Waiting { claim, wanted: asked.node, approved });
        let has_room = self.ask(|answer| Ask::Add(waiting, answer)).await.unwrap_or(false);
        if !has_room {
            let text = format!("{MAX_CLAIMS} agents wait for approval already: try again later");
            return Err(refuse(ErrorCode::Busy, text));
        }
        let told = encode(&ClaimCode { code: code.clone(), expires })?;
        if let Err(error) = call.progress(told).await {
            tracing::debug!(%error, "whoever shows a code has gone");
        }
        match tokio::time::timeout(CLAIM_LIFE, approval).await {
            Ok(Ok(enrolled)) => encode(&enrolled),
            _ => {
                let _ = self.claims.send(Ask::Forget(code)).await;
                let text = "nobody has approved the code in time".to_owned();
                Err(refuse(ErrorCode::Timeout, text))
            }
        }
    }

    async fn claims(&self) -> Vec<Claim> {
        self.ask(Ask::List).await.unwrap_or_default()
    }

    async fn approve(&self, asked: Approve, by: &str) -> Answer {
        let code = asked.code.trim().to_uppercase();
        let taken = self.ask(|answer| Ask::Take(code.clone(), answer)).await.flatten();
        let Some(waiting) = taken else {
            let text = format!("nobody shows the code {code}: `drover node claims` lists them");
            return Err(refuse(ErrorCode::InvalidArguments, text));
        };
        let approval = Approval {
            key: waiting.claim.key.clone(),
            name: waiting.claim.name.clone(),
            node: asked.node.unwrap_or(waiting.wanted),
            is_fixed: asked.node.is_some(),
            labels: asked.labels,
            by: by.to_owned(),
        };
        let access = self.access.clone();
        let enrolled =
            blocking(move || access.change(|known| known.approve(&approval, Timestamp::now())));
        match enrolled.await {
            Ok(enrolled) => {
                // Whoever has gone meanwhile asks again, and is told the same.
                let _ = waiting.approved.send(enrolled.clone());
                encode(&enrolled)
            }
            Err(error) => {
                // The code stays good for another attempt.
                let _ = self.ask(|answer| Ask::Add(Box::new(waiting), answer)).await;
                Err(error)
            }
        }
    }

    async fn revoke(&self, asked: AccessName) -> Answer {
        let access = self.access.clone();
        let node =
            blocking(move || access.change(|known| known.revoke(&asked.name, Timestamp::now())));
        let node = node.await?;
        self.throw_out(&format!("{NODES}{node}"), "the node was revoked").await;
        tracing::info!(%node, "node revoked");
        encode(&node)
    }

    async fn label(&self, asked: LabelNode) -> Answer {
        let access = self.access.clone();
        encode(&blocking(move || access.change(|known| known.label(&asked))).await?)
    }

    async fn rotate(&self, caller: Option<&Principal>, asked: RotateKey) -> Answer {
        let node = caller
            .filter(|caller| caller.authrole == roles::NODE)
            .and_then(|caller| caller.authid.strip_prefix(NODES)?.parse::<NodeId>().ok())
            .ok_or_else(|| refuse(ErrorCode::Denied, "only a node changes its key".to_owned()))?;
        let key: PublicKey = asked
            .key
            .parse()
            .map_err(|error| refuse(ErrorCode::InvalidArguments, format!("{error}")))?;
        let access = self.access.clone();
        blocking(move || access.change(|known| known.rotate(node, &key.to_string()))).await?;
        Ok(Payload::empty())
    }

    async fn put_user(&self, asked: PutUser) -> Answer {
        if let Some(role) = &asked.role
            && self.access.rights(role).is_none()
        {
            let policy = self.access.policy();
            let own = policy.roles.keys().map(String::as_str);
            let known: Vec<_> = roles::BUILT_IN.into_iter().chain(own).collect();
            let text = format!("there is no role `{role}`, only {}", known.join(", "));
            return Err(refuse(ErrorCode::InvalidArguments, text));
        }
        let keys = asked.keys.iter().flatten().map(|key| key.parse::<PublicKey>());
        let keys = keys.map(|key| key.map(|key| key.to_string())).collect::<Result<Vec<_>, _>>();
        let keys = keys.map_err(|error| refuse(ErrorCode::InvalidArguments, error.to_string()))?;
        let asked = PutUser { keys: asked.keys.map(|_| keys), ..asked };
        let (access, user) = (self.access.clone(), asked.name.clone());
        let password = asked.password.clone().map(Secret::new);
        let was_there = access.directory().user(&user).is_some();
        blocking(move || {
            let hash = password.as_ref().map(PasswordHash::of).transpose();
            let hash = hash.map_err(Refusal::wrong)?;
            access.change(|known| known.put_user(&asked, hash, Timestamp::now()))
        })
        .await?;
        if was_there {
            // The former role and keys of sessions that are there count no more.
            self.throw_out(&user, "the user was changed").await;
        }
        Ok(Payload::empty())
    }

    async fn remove_user(&self, asked: AccessName) -> Answer {
        let (access, user) = (self.access.clone(), asked.name.clone());
        blocking(move || access.change(|known| known.remove_user(&asked.name))).await?;
        self.throw_out(&user, "the user was removed").await;
        Ok(Payload::empty())
    }

    async fn password(&self, caller: Option<&Principal>, password: String) -> Answer {
        let user = self.own_name(caller)?;
        let asked = PutUser { name: user, role: None, password: None, keys: None };
        let (access, password) = (self.access.clone(), Secret::new(password));
        blocking(move || {
            let hash = PasswordHash::of(&password).map_err(Refusal::wrong)?;
            access.change(|known| known.put_user(&asked, Some(hash), Timestamp::now()))
        })
        .await?;
        Ok(Payload::empty())
    }

    async fn new_token(&self, caller: Option<&Principal>, asked: NewApiToken) -> Answer {
        let user = match (self.only_own(caller), &asked.user) {
            (Some(own), Some(user)) if own != *user => {
                let text = format!("only an admin makes tokens for `{user}`");
                return Err(refuse(ErrorCode::Denied, text));
            }
            (_, Some(user)) => user.clone(),
            (_, None) => self.own_name(caller)?,
        };
        if let Some(role) = &asked.role {
            let is_less = role == "viewer" || self.only_own(caller).is_none();
            if !is_less || self.access.rights(role).is_none() {
                let text = format!(
                    "a token of your own has your role or is a `viewer`'s, not a `{role}`'s"
                );
                return Err(refuse(ErrorCode::Denied, text));
            }
        }
        let access = self.access.clone();
        let made = blocking(move || {
            let secret = NewSecret::draw();
            let now = Timestamp::now();
            let token = access.change(|known| known.make_token(&user, &asked, &secret, now))?;
            let text = secret.text.reveal().to_owned();
            Ok(MadeToken { id: token.id, token: text, expires: token.expires })
        });
        encode(&made.await?)
    }

    async fn remove_token(&self, caller: Option<&Principal>, asked: AccessName) -> Answer {
        let (access, own) = (self.access.clone(), self.only_own(caller));
        let id = asked.name;
        blocking(move || access.change(|known| known.remove_token(&id, own.as_deref()))).await?;
        Ok(Payload::empty())
    }

    async fn audit_list(&self, query: AuditQuery) -> Answer {
        let audit = self.access.audit().clone();
        encode(&blocking(move || audit.list(&query)).await?)
    }

    /// The user to whose own affairs a caller is held; nobody who is an admin,
    /// or let in by the realm's configuration.
    fn only_own(&self, caller: Option<&Principal>) -> Option<String> {
        let caller = caller.filter(|caller| caller.authrole != roles::ADMIN)?;
        self.access.rights(&caller.authrole).map(|_| caller.authid.clone())
    }

    /// The user who calls.
    fn own_name(&self, caller: Option<&Principal>) -> Result<String, ApplicationError> {
        let user = caller.filter(|caller| self.access.directory().user(&caller.authid).is_some());
        user.map(|caller| caller.authid.clone()).ok_or_else(|| {
            let text = "you are no user of this controller: name one".to_owned();
            refuse(ErrorCode::InvalidArguments, text)
        })
    }

    /// Ends all sessions of somebody.
    async fn throw_out(&self, authid: &str, why: &str) {
        let arguments = (authid,);
        let payload = Payload::positional(&arguments).and_then(|payload| {
            Ok(payload.with_keywords_of(Payload::keyword(&serde_json::json!({ "message": why }))?))
        });
        let options = CallOptions::within(KILL_TIMEOUT);
        let killed = match payload {
            Ok(payload) => {
                self.session.call("wamp.session.kill_by_authid", payload, options).await.map(drop)
            }
            Err(error) => Err(error.into()),
        };
        if let Err(error) = killed {
            tracing::error!(authid, %error, "cannot end the sessions of somebody");
        }
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.claims.send(ask(answer)).await.ok()?;
        answered.await.ok()
    }
}

/// A code that is easily read out.
fn draw_code() -> String {
    let letter = |byte: u8| char::from(LETTERS[usize::from(byte) % LETTERS.len()]);
    let letters: Vec<_> = rand::random::<[u8; 8]>().into_iter().map(letter).collect();
    let half = |half: &[char]| half.iter().collect::<String>();
    format!("{}-{}", half(&letters[..4]), half(&letters[4..]))
}

fn name(caller: Option<&Principal>) -> String {
    caller.map_or_else(|| "anonymous".to_owned(), |caller| caller.authid.clone())
}

/// The key of whoever wants to become a node.
fn newcomer(caller: Option<&Principal>) -> Result<String, ApplicationError> {
    let caller = caller.filter(|caller| caller.authrole == NEWCOMER);
    let key = caller.and_then(|caller| caller.authid.strip_prefix(NEWCOMERS));
    key.map(str::to_owned).ok_or_else(|| {
        let text = "whoever wants to become a node joins by cryptosign with its new key, in the \
                    role `newcomer`";
        refuse(ErrorCode::Denied, text.to_owned())
    })
}

fn in_words(refusal: Refusal) -> ApplicationError {
    refuse(refusal.code, refusal.text)
}

/// Does what waits for the disk or takes a core for a while.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> Result<T, ApplicationError> {
    let failed = |error: anyhow::Error| match error.downcast::<Refusal>() {
        Ok(refusal) => in_words(refusal),
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "a call about access failed");
            let text = "the controller failed, its log says why".to_owned();
            refuse(ErrorCode::Internal, text)
        }
    };
    match spawn_blocking(work).await {
        Ok(done) => done.map_err(failed),
        Err(error) => Err(failed(error.into())),
    }
}
