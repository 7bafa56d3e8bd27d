//! Problems in the operator's file.
//!
//! In: what source, interpolation, decoding and checks find. Out: rendered
//! text with file, line, column and the source line, secrets masked.
//! Not here: deciding what is a problem.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// One file's text as it may be shown: credentials are already masked.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The path as the operator named it.
    pub name: String,
    /// The text, byte for byte as long as the file, credentials replaced by `*`.
    pub text: String,
    /// Its position among the files of a configuration, in reading order.
    pub order: usize,
}

/// A stretch of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub listing: Arc<Listing>,
    /// Bytes of the file.
    pub span: Range<usize>,
}

impl Place {
    /// Line and column, both from 1, columns in characters.
    pub fn line_and_column(&self) -> (usize, usize) {
        let before = self.listing.text.get(..self.span.start).unwrap_or(&self.listing.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column)
    }
}

/// How bad an issue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used and something in it deserves a look.
    Warning,
}

impl Severity {
    /// `error` or `warning`.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        }
    }
}

/// One problem: what, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// Stable code.
    pub code: IssueCode,
    /// The problem in one sentence without a full stop.
    pub title: String,
    /// Where; none for a problem with the file as a whole.
    pub place: Option<Place>,
    /// Words beside the marked place.
    pub label: String,
    /// A second place and the words beside it.
    pub related: Option<(Place, String)>,
    /// What to do.
    pub help: Option<String>,
    severity: Severity,
}

impl Issue {
    /// A problem at `place`.
    pub fn at(code: IssueCode, place: Place, title: impl Into<String>) -> Self {
        Issue { place: Some(place), ..Issue::whole(code, title) }
    }

    /// A problem of the file as a whole.
    pub fn whole(code: IssueCode, title: impl Into<String>) -> Self {
        Issue {
            code,
            title: title.into(),
            place: None,
            label: String::new(),
            related: None,
            help: None,
            severity: code.severity(),
        }
    }

    /// Adds words beside the marked place.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds a second place.
    #[must_use]
    pub fn related(mut self, place: Place, label: impl Into<String>) -> Self {
        self.related = Some((place, label.into()));
        self
    }

    /// How bad it is: a property of the code, unless warnings count as errors.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// `file:line:column: error[TG0101]: title`, for logs.
    pub fn summary(&self) -> String {
        let word = self.severity().word();
        match &self.place {
            None => format!("{word}[{}]: {}", self.code, self.title),
            Some(place) => {
                let (line, column) = place.line_and_column();
                format!("{}:{line}:{column}: {word}[{}]: {}", place.listing.name, self.code, self.title)
            }
        }
    }

    fn render(&self, renderer: &Renderer) -> String {
        let level = match self.severity() {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let code = self.code.to_string();
        let title = level.primary_title(&self.title).id(&code);
        let mut group = match &self.place {
            None => annotate_snippets::Group::with_title(title),
            Some(place) => {
                let listing = &place.listing;
                let mut primary = AnnotationKind::Primary.span(place.span.clone());
                if !self.label.is_empty() {
                    primary = primary.label(&self.label);
                }
                let mut snippet = Snippet::source(&listing.text).path(&listing.name).annotation(primary);
                let mut elsewhere = None;
                if let Some((other, label)) = &self.related {
                    let context = AnnotationKind::Context.span(other.span.clone()).label(label);
                    match Arc::ptr_eq(&other.listing, listing) {
                        true => snippet = snippet.annotation(context),
                        false => {
                            let listing = &other.listing;
                            elsewhere = Some(Snippet::source(&listing.text).path(&listing.name).annotation(context));
                        }
                    }
                }
                title.element(snippet).elements(elsewhere)
            }
        };
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help));
        }
        renderer.render(&[group])
    }
}

/// All problems of a file, in file order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Issues(Vec<Issue>);

impl Issues {
    /// Adds one.
    pub fn push(&mut self, issue: Issue) {
        self.0.push(issue);
    }

    /// Adds all of `others`.
    pub fn append(&mut self, others: Issues) {
        self.0.extend(others.0);
    }

    /// Whether any of them makes the file unusable.
    pub fn has_errors(&self) -> bool {
        self.errors() > 0
    }

    /// How many errors.
    pub fn errors(&self) -> usize {
        self.0.iter().filter(|issue| issue.severity() == Severity::Error).count()
    }

    /// How many warnings.
    pub fn warnings(&self) -> usize {
        self.0.len() - self.errors()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each in turn.
    pub fn iter(&self) -> impl Iterator<Item = &Issue> {
        self.0.iter()
    }

    /// Puts them in file order and drops exact repetitions.
    pub fn sort(&mut self) {
        self.0.sort_by_key(|issue| {
            let start = issue.place.as_ref().map_or((0, 0), |place| (place.listing.order, place.span.start));
            (start, issue.severity(), issue.code)
        });
        self.0.dedup();
    }

    /// Makes an error of every warning that can be mended in the file.
    pub fn raise(&mut self) {
        for issue in self.0.iter_mut().filter(|issue| issue.code.can_be_mended()) {
            issue.severity = Severity::Error;
        }
    }

    /// The text for a person, in colour for a terminal that has it.
    pub fn render(&self, colour: Colour) -> String {
        let renderer = match colour {
            Colour::Ansi => Renderer::styled(),
            Colour::Plain => Renderer::plain(),
        };
        let renderer = renderer.decor_style(DecorStyle::Ascii);
        let mut text = String::new();
        for issue in &self.0 {
            text.push_str(&issue.render(&renderer));
            text.push_str("\n\n");
        }
        text
    }

    /// `2 errors, 1 warning`.
    pub fn count(&self) -> String {
        let plural = |count: usize, word: &str| match count {
            1 => format!("1 {word}"),
            _ => format!("{count} {word}s"),
        };
        match (self.errors(), self.warnings()) {
            (errors, 0) => plural(errors, "error"),
            (0, warnings) => plural(warnings, "warning"),
            (errors, warnings) => format!("{}, {}", plural(errors, "error"), plural(warnings, "warning")),
        }
    }
}

impl fmt::Display for Issues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Colour::Plain))
    }
}

impl std::error::Error for Issues {}

/// Whether rendered text carries terminal colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// With ANSI escapes.
    Ansi,
    /// Without.
    Plain,
}

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
                match self { $(IssueCode::$name => include_str!(concat!("explanations/", $code, ".md")),)* }
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
    /// Whether a file can be without it. No file can say yet who may call, so that
    /// `check --strict` would otherwise pass none.
    pub fn can_be_mended(self) -> bool {
        self != IssueCode::EveryRoutePublic
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
    UnknownCapture = "TG0110", Error, "A template uses a capture that the path does not have.";
    CallerChoosesTenant = "TG0111", Error, "A public route takes a fixed parameter from the caller's own path.";
    ParameterRules = "TG0112", Error, "Rules for parameters that contradict each other.";
    TinybirdApi = "TG0113", Error, "`tinybird_api` needs exactly one route per pipe.";
    AdminExposed = "TG0114", Error, "The admin address can be reached from elsewhere and has no token.";
    EveryRoutePublic = "TG0201", Warning, "Nothing says who may call: every route is public.";
    FixedInQueryOnly = "TG0202", Warning, "A proxy route forces parameters in the query only, and callers may send a body.";
    PlainHttp = "TG0203", Warning, "Requests travel to the upstream without TLS.";
    UnusedUpstream = "TG0204", Warning, "An upstream that no route uses.";
    CorsCredentials = "TG0205", Warning, "Cross-origin credentials together with the origin `*`.";
    ShadowedRoute = "TG0206", Warning, "A route that does not get every request that its path matches.";
    PlainCredential = "TG0207", Warning, "A credential is written in the file itself.";
    ReadableCredential = "TG0208", Warning, "A file with a credential can be read by every user of the machine.";
    YamlTrap = "TG0209", Warning, "A value that is read differently by other YAML tools.";
    RetryBeyondTimeout = "TG0210", Warning, "The time-outs leave no room for what is written beside them.";
    FixedAndAllowed = "TG0211", Warning, "A parameter is fixed and also stands in `allow`.";
    RefusedPipe = "TG0212", Warning, "`tinybird_api` opens a path that refuses every request.";
    DoubledVersion = "TG0213", Warning, "The URL of an upstream with pipes ends in `/v0`.";
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
}
