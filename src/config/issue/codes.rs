//! Every kind of problem: its code, how bad it is, what it means.
//!
//! In: nothing. Out: [`IssueCode`], by one table. Not here: the long texts
//! (`explanations/`), where a problem stands (`issue`).

use std::fmt;

use super::Severity;

/// Makes the enum, its texts and `ALL` from one table.
macro_rules! issue_codes {
    ($($name:ident = $code:literal, $severity:ident, $meaning:literal;)*) => {
        /// What kind of problem; the code is stable and searchable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum IssueCode { $(#[doc = $meaning] $name,)* }

        impl IssueCode {
            /// Every code.
            pub const ALL: &'static [IssueCode] = &[$(IssueCode::$name,)*];

            /// How bad problems with this code are.
            pub fn severity(self) -> Severity {
                match self { $(IssueCode::$name => Severity::$severity,)* }
            }

            /// What the code means.
            pub fn meaning(self) -> &'static str {
                match self { $(IssueCode::$name => $meaning,)* }
            }

            /// The long text: Markdown, with a wrong and a right file where a file can show it.
            pub fn explanation(self) -> &'static str {
                match self { $(IssueCode::$name => include_str!(concat!("../explanations/", $code, ".md")),)* }
            }
        }

        impl fmt::Display for IssueCode {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(IssueCode::$name => $code,)* })
            }
        }
    };
}

impl IssueCode {
    /// Whether it is about what the file names, and not about the file: only `check --online` finds these.
    pub fn is_of_surroundings(self) -> bool {
        self.to_string().starts_with("TG03")
    }

    /// The code that `text` names: `TG0107`, `tg0107` or `0107`.
    pub fn find(text: &str) -> Option<IssueCode> {
        let digits = text
            .get(..2)
            .filter(|start| start.eq_ignore_ascii_case("TG"))
            .map_or(text, |_| text.get(2..).unwrap_or_default());
        IssueCode::ALL.iter().copied().find(|code| code.to_string().strip_prefix("TG") == Some(digits))
    }
}

issue_codes! {
    Unreadable = "TG0001", Error, "A file that the configuration needs cannot be read.";
    Syntax = "TG0002", Error, "The file is not well-formed YAML.";
    TooLarge = "TG0003", Error, "The file is larger, deeper or has more aliases than a configuration may.";
    UnsetVariable = "TG0004", Error, "A `${VAR}` names a variable that is not set, or is not written properly.";
    Duplicate = "TG0101", Error, "The same key stands twice in one place.";
    UnknownKey = "TG0102", Error, "A key that does not exist here.";
    WrongType = "TG0103", Error, "A value of the wrong kind.";
    MissingKey = "TG0104", Error, "A key that must be there is missing.";
    BadValue = "TG0105", Error, "A value that cannot be used.";
    EmptyCredential = "TG0106", Error, "A credential is empty or malformed.";
    UnknownName = "TG0107", Error, "A name that is defined nowhere.";
    RouteConflict = "TG0108", Error, "Two routes can match the same path and neither is more specific.";
    RouteTarget = "TG0109", Error, "A route must lead to exactly one of `pipe` and `proxy`.";
    UnknownCapture = "TG0110", Error, "A template uses a capture or label that the path or the host does not have.";
    CallerChoosesTenant = "TG0111", Error, "A public route takes a fixed parameter from the caller's own path or host.";
    ParameterRules = "TG0112", Error, "Rules for parameters that contradict each other.";
    TinybirdApi = "TG0113", Error, "`tinybird_api` needs exactly one route per pipe.";
    AdminExposed = "TG0114", Error, "The admin address can be reached from elsewhere and has no token, or a short one.";
    CallerRules = "TG0115", Error, "Rules about callers that contradict each other.";
    WeakKey = "TG0116", Error, "A key or a secret is too weak for what it protects.";
    NoCallers = "TG0117", Error, "A route does not say who may call it.";
    LimitRules = "TG0118", Error, "The keys of a limit contradict each other, or do not fit what it counts.";
    CertificateRules = "TG0119", Error, "A certificate cannot be used, or not for this host.";
    TlsRules = "TG0120", Error, "What is said about TLS leads to connections that nobody can open.";
    OnDemandRules = "TG0121", Error, "Nobody can say who may have a certificate on demand.";
    DocumentPath = "TG0129", Error, "The path of the OpenAPI document is a route's, or is none that can be asked for.";
    EveryRoutePublic = "TG0201", Warning, "Nothing says who may call: every route is public.";
    FixedInQueryOnly = "TG0202", Warning, "A proxy route confines parameters in the query only, and callers may send a body.";
    PlainHttp = "TG0203", Warning, "Requests travel to the upstream without TLS.";
    UnusedUpstream = "TG0204", Warning, "An upstream that no route uses.";
    CorsCredentials = "TG0205", Warning, "Cross-origin credentials together with origins that anybody can have.";
    ShadowedRoute = "TG0206", Warning, "A route that does not get every request that its path matches.";
    PlainCredential = "TG0207", Warning, "A credential is written in the file itself.";
    ReadableCredential = "TG0208", Warning, "A file with a credential can be read by every user of the machine.";
    YamlTrap = "TG0209", Warning, "A value that is read differently by other YAML tools.";
    RetryBeyondTimeout = "TG0210", Warning, "The time-outs leave no room for what is written beside them.";
    FixedAndAllowed = "TG0211", Warning, "A parameter is fixed and also stands in `allow`.";
    RefusedPipe = "TG0212", Warning, "`tinybird_api` opens a path that refuses every request.";
    DoubledVersion = "TG0213", Warning, "The URL of an upstream with pipes ends in `/v0`.";
    UnusedProvider = "TG0214", Warning, "A provider that nothing uses.";
    RefusedOnHost = "TG0215", Warning, "A public route that a tenant's host always refuses.";
    AnyAudience = "TG0216", Warning, "A provider accepts tokens for every application of its issuer.";
    CredentialAsDefault = "TG0217", Warning, "A default, which callers can change, is taken from the credential.";
    CallerChoosesValue = "TG0218", Warning, "Callers with credentials choose a fixed value by the path or the host.";
    SharedRows = "TG0219", Warning, "Callers have tenants, and nothing keeps their rows apart.";
    UnusedLimit = "TG0220", Warning, "A limit or a plan that nothing uses.";
    SharedCount = "TG0221", Warning, "A limit counts callers apart by what none of them has there.";
    NoEffect = "TG0222", Warning, "A setting that has no effect beside what else is written.";
    NoCertificate = "TG0223", Warning, "A host that nobody can reach over TLS.";
    UnresolvedHost = "TG0301", Error, "The host name of an upstream cannot be resolved from here.";
    NoConnection = "TG0302", Error, "No connection to an upstream can be opened from here.";
    TlsRefused = "TG0303", Error, "TLS with an upstream fails, or its certificate cannot be verified.";
    TokenRefused = "TG0304", Error, "An upstream refuses the credential.";
    UnknownPipe = "TG0305", Error, "The upstream has no such pipe, or the token cannot read it.";
    CertificateEnds = "TG0306", Warning, "The certificate of an upstream soon expires.";
    NoUsefulAnswer = "TG0307", Error, "An upstream does not answer as an API does.";
    PipesUnlisted = "TG0308", Warning, "An upstream does not say which pipes it has.";
    AddressUnusable = "TG0309", Error, "An address of the file cannot be listened on here.";
    LogUnwritable = "TG0310", Error, "The access log cannot be written here.";
    StateUnusable = "TG0311", Warning, "The admin token cannot be kept here, or others can read it.";
    KeysUnfetched = "TG0312", Error, "The public keys of an identity provider cannot be fetched.";
    CertificateInvalid = "TG0313", Error, "A certificate is not valid now.";
    CertificateDue = "TG0314", Warning, "A certificate soon expires.";
    NoAuthority = "TG0315", Error, "Who issues certificates, or approves of names, does not answer as it should.";
    LedgerUnusable = "TG0316", Error, "The Postgres of the ledger cannot be written from here.";
    BackendRules = "TG0317", Error, "The URLs of an upstream contradict each other.";
}
