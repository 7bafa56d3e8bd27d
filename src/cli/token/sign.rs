//! `tollgate token sign`: a token to try with.
//!
//! In: what it should say, and a key. Out: the token on stdout, what it says on
//! stderr. Not here: the signature (`jose`).

use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow, bail};
use serde_json::{Map, Number, Value, json};

use crate::clock::Clock;
use crate::config::scalar::{Algorithm, Period};
use crate::config::section::auth::{Audience, Provider, ProviderKind};
use crate::jose::SigningKey;

use super::super::{Ending, load_or_explain, print, say};
use super::age::{moment, span};
use super::{read, shown};

/// Where the secret may stand that signs.
const VARIABLE: &str = "TOLLGATE_TOKEN_SECRET";

#[derive(Debug, clap::Args)]
#[command(
    before_help = "\
Examples:
  tollgate token sign -c tollgate.yaml --provider dashboards --name try --pipe top --fixed company_id=acme
  tollgate token sign --tinybird --workspace-id ID --name try --pipe top --secret-file admin-token.txt
  tollgate token sign --issuer https://id.example.com/ --audience analytics --claim org_id=acme --key-file key.pem",
    after_help = "\
The key comes from --secret-file, --key-file, the provider's `secret`, or the environment variable
TOLLGATE_TOKEN_SECRET. It is never an argument: every user of a machine can list the arguments of programs.
--claim exp=1 and the like make tokens that a gateway must refuse."
)]
pub(super) struct Arguments {
    /// Make a Tinybird JWT
    #[arg(long)]
    tinybird: bool,
    /// Tinybird: the workspace that it is for
    #[arg(long, value_name = "ID")]
    workspace_id: Option<String>,
    /// Tinybird: who has it
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Tinybird: a pipe that it opens; may be given several times
    #[arg(long = "pipe", value_name = "PIPE")]
    pipes: Vec<String>,
    /// Tinybird: a parameter that it fixes, for every pipe; may be given several times
    #[arg(long = "fixed", value_name = "NAME=VALUE")]
    fixed: Vec<Pair>,
    /// Tinybird: requests per second that it allows
    #[arg(long, value_name = "NUMBER")]
    rps: Option<f64>,
    /// Who signs it (`iss`)
    #[arg(long, value_name = "ISSUER")]
    issuer: Option<String>,
    /// Whom it is for (`aud`); may be given several times
    #[arg(long, value_name = "AUDIENCE")]
    audience: Vec<String>,
    /// Who has it (`sub`)
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// A claim, as JSON where it is JSON and as a text where not; may be given several times
    #[arg(long = "claim", value_name = "NAME=VALUE")]
    claims: Vec<Pair>,
    /// A file with claims, a JSON object; `-` is the standard input
    #[arg(long = "claims", value_name = "FILE")]
    claims_file: Option<PathBuf>,
    /// How long it is good
    #[arg(long, value_name = "TIME", default_value = "10m")]
    ttl: Period,
    /// The algorithm [default: the first that the key is for; HS256 for a secret]
    #[arg(long, value_name = "NAME")]
    alg: Option<Algorithm>,
    /// The id of the key (`kid`)
    #[arg(long, value_name = "ID")]
    kid: Option<String>,
    /// A file with the secret that signs; `-` is the standard input
    #[arg(long, value_name = "FILE", conflicts_with = "key_file")]
    secret_file: Option<PathBuf>,
    /// A file with the private key that signs, PEM
    #[arg(long, value_name = "PEM")]
    key_file: Option<PathBuf>,
    /// A configuration, whose provider says the rest
    #[arg(short = 'c', long = "config", value_name = "FILE", requires = "provider")]
    config: Option<PathBuf>,
    /// The provider that should accept it
    #[arg(long, value_name = "NAME", requires = "config")]
    provider: Option<String>,
}

/// `company_id=acme`.
#[derive(Clone, Debug)]
struct Pair(String, String);

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok(Pair(name.to_owned(), value.to_owned())),
            Some(_) | None => Err("write NAME=VALUE, like org_id=acme".to_owned()),
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let loaded = match arguments.config.as_deref().map(load_or_explain).transpose() {
        Ok(loaded) => loaded,
        Err(_) => return Ok(Ending::Impossible),
    };
    let provider = match (&loaded, &arguments.provider) {
        (Some(loaded), Some(name)) => match loaded.config.auth.get(name) {
            Some(provider) => Some(provider),
            None => {
                let known: Vec<&str> = loaded.config.auth.keys().map(String::as_str).collect();
                return Ok(wrong(&format!("there is no provider `{name}`; there are: {}", known.join(", "))));
            }
        },
        (None, _) | (_, None) => None,
    };
    if let Err(problem) = arguments.fits(provider) {
        return Ok(wrong(&problem));
    }
    let now = Clock::system().wall();
    match sign(arguments, provider, now) {
        Ok((token, told)) => {
            print(&token);
            say(&told);
            Ok(Ending::Success)
        }
        Err(error) => Ok(Ending::could_not(&error)),
    }
}

fn wrong(problem: &str) -> Ending {
    say(&format!("tollgate: {problem}"));
    Ending::WrongCall
}

impl Arguments {
    fn is_tinybird(&self, provider: Option<&Provider>) -> bool {
        provider.map_or(self.tinybird, |provider| provider.kind == ProviderKind::TinybirdJwt)
    }

    /// Whether these words go together.
    fn fits(&self, provider: Option<&Provider>) -> Result<(), String> {
        if provider.is_some_and(|provider| provider.kind == ProviderKind::ApiKey) {
            return Err("this provider takes API keys, which `tollgate keys create` makes".to_owned());
        }
        if provider.is_some() && self.tinybird != self.is_tinybird(provider) && self.tinybird {
            return Err("--tinybird, and the provider is of `type: jwt`: leave out one of them".to_owned());
        }
        let stdin = |path: &Option<PathBuf>| path.as_deref().is_some_and(|path| path.to_str() == Some("-"));
        let files = [&self.claims_file, &self.secret_file, &self.key_file];
        if files.into_iter().filter(|path| stdin(path)).count() > 1 {
            return Err("the standard input can only be read once".to_owned());
        }
        if !self.is_tinybird(provider) {
            let given = self.workspace_id.is_some() || self.name.is_some() || !self.pipes.is_empty();
            return match given || !self.fixed.is_empty() || self.rps.is_some() {
                true => {
                    Err("--workspace-id, --name, --pipe, --fixed and --rps belong to Tinybird JWTs: add --tinybird, \
                     or say the same with --claim"
                        .to_owned())
                }
                false => Ok(()),
            };
        }
        if self.workspace_id.is_none() && provider.is_none_or(|provider| provider.workspace_id.is_none()) {
            return Err("a Tinybird JWT is for a workspace: add --workspace-id ID".to_owned());
        }
        match (&self.name, self.pipes.is_empty()) {
            (None, _) => Err("a Tinybird JWT names who has it: add --name NAME".to_owned()),
            (Some(_), true) => Err("a Tinybird JWT opens pipes: add --pipe NAME".to_owned()),
            (Some(_), false) => Ok(()),
        }
    }

    /// The payload.
    fn payload(&self, provider: Option<&Provider>, now: SystemTime) -> anyhow::Result<Map<String, Value>> {
        let mut claims = match &self.claims_file {
            None => Map::new(),
            Some(path) => match serde_json::from_str(&read(path, "the claims")?) {
                Ok(Value::Object(claims)) => claims,
                Ok(_) | Err(_) => bail!("`{}` is not a JSON object", path.display()),
            },
        };
        match self.is_tinybird(provider) {
            true => self.add_tinybird(&mut claims, provider),
            false => {
                let issuer = self.issuer.as_ref().or(provider.and_then(|provider| provider.issuer.as_ref()));
                add(&mut claims, "iss", issuer.map(|issuer| Value::from(issuer.as_str())));
                add(&mut claims, "aud", self.audiences(provider));
                add(&mut claims, "sub", self.subject.as_deref().map(Value::from));
                claims.entry("iat").or_insert_with(|| Value::from(seconds(now)));
            }
        }
        claims.entry("exp").or_insert_with(|| Value::from(seconds(now + self.ttl.duration())));
        for Pair(name, value) in &self.claims {
            let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value.as_str()));
            claims.insert(name.clone(), value);
        }
        Ok(claims)
    }

    /// As Tinybird documents it, and nothing beside.
    fn add_tinybird(&self, claims: &mut Map<String, Value>, provider: Option<&Provider>) {
        let workspace = self.workspace_id.as_ref().or(provider.and_then(|provider| provider.workspace_id.as_ref()));
        add(claims, "workspace_id", workspace.map(|workspace| Value::from(workspace.as_str())));
        add(claims, "name", self.name.as_deref().map(Value::from));
        let fixed: Map<String, Value> =
            self.fixed.iter().map(|Pair(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
        let scope = |pipe: &String| match fixed.is_empty() {
            true => json!({ "type": "PIPES:READ", "resource": pipe }),
            false => json!({ "type": "PIPES:READ", "resource": pipe, "fixed_params": fixed }),
        };
        add(claims, "scopes", Some(self.pipes.iter().map(scope).collect()));
        let whole = |rps: f64| (rps.fract() == 0.0 && rps.abs() < 1e9).then(|| Number::from(rps as i64));
        let rps = self.rps.and_then(|rps| whole(rps).or_else(|| Number::from_f64(rps)));
        add(claims, "limits", rps.map(|rps| json!({ "rps": rps })));
    }

    fn audiences(&self, provider: Option<&Provider>) -> Option<Value> {
        let of_provider = match provider.and_then(|provider| provider.audience.as_ref()) {
            Some(Audience::Of(names)) => names.first().cloned(),
            Some(Audience::Any) | None => None,
        };
        match (self.audience.as_slice(), of_provider) {
            ([], of_provider) => of_provider.map(Value::from),
            ([one], _) => Some(Value::from(one.as_str())),
            (several, _) => Some(several.iter().map(|name| Value::from(name.as_str())).collect()),
        }
    }

    fn key(&self, provider: Option<&Provider>) -> anyhow::Result<SigningKey> {
        if let Some(path) = &self.key_file {
            let text = read(path, "the private key")?;
            return SigningKey::from_pem(&text).map_err(|why| anyhow!("`{}`: {why}", path.display()));
        }
        if let Some(path) = &self.secret_file {
            let text = read(path, "the secret")?;
            return SigningKey::secret(text.as_bytes()).map_err(|why| anyhow!("`{}`: {why}", path.display()));
        }
        if let Some(secret) = provider.and_then(|provider| provider.secret.as_ref()) {
            return SigningKey::secret(secret.expose().as_bytes()).map_err(anyhow::Error::msg);
        }
        #[expect(clippy::disallowed_methods, reason = "the command line is where the environment is read")]
        let variable = std::env::var(VARIABLE);
        match variable {
            Ok(secret) if !secret.is_empty() => {
                SigningKey::secret(secret.as_bytes()).map_err(|why| anyhow!("{VARIABLE}: {why}"))
            }
            Ok(_) | Err(_) if provider.is_some() => {
                bail!("the provider has public keys only, which cannot sign: give the private one with --key-file PEM")
            }
            Ok(_) | Err(_) => bail!("there is no key to sign with: --secret-file FILE, --key-file PEM or {VARIABLE}"),
        }
    }
}

fn add(claims: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        claims.insert(name.to_owned(), value);
    }
}

/// The token, and a sentence about it.
fn sign(arguments: &Arguments, provider: Option<&Provider>, now: SystemTime) -> anyhow::Result<(String, String)> {
    let claims = arguments.payload(provider, now)?;
    let key = arguments.key(provider)?;
    let first = || {
        let is_allowed = |algorithm: &&Algorithm| {
            let allowed = provider.and_then(|provider| provider.algorithms.as_ref());
            allowed.is_none_or(|allowed| allowed.contains(algorithm))
        };
        let usual = [Algorithm::Hs256, Algorithm::Rs256].into_iter().find(|usual| key.algorithms().contains(usual));
        usual.filter(|usual| is_allowed(&usual)).or_else(|| key.algorithms().iter().find(is_allowed).copied())
    };
    let algorithm = match arguments.is_tinybird(provider) {
        true => arguments.alg.or(Some(Algorithm::Hs256)),
        false => arguments.alg.or_else(first),
    };
    let algorithm = algorithm.context("the key is for none of the provider's `algorithms`")?;
    let mut header = Map::new();
    add(&mut header, "alg", Some(Value::from(algorithm.name())));
    add(&mut header, "typ", Some(Value::from("JWT")));
    add(&mut header, "kid", arguments.kid.as_deref().map(Value::from));
    let told = told(&claims, algorithm, now);
    let token = key.sign(algorithm, &Value::Object(header), &Value::Object(claims)).map_err(anyhow::Error::msg)?;
    Ok((token, told))
}

fn told(claims: &Map<String, Value>, algorithm: Algorithm, now: SystemTime) -> String {
    let says: Vec<String> = claims
        .iter()
        .filter(|(name, _)| !["exp", "iat"].contains(&name.as_str()))
        .map(|(name, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("{} {}", shown(name), shown(&text))
        })
        .collect();
    let ends = claims.get("exp").and_then(Value::as_u64).and_then(|ends| {
        let ends = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(ends))?;
        Some(match ends.duration_since(now) {
            Ok(left) => format!("good for {}, until {}", span(left + Duration::from_millis(999)), moment(ends)),
            Err(_) => format!("expired since {}", moment(ends)),
        })
    });
    let ends = ends.unwrap_or_else(|| "its `exp` is no time".to_owned());
    format!("Signed with {algorithm}: {}; {ends}.", says.join(", "))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
