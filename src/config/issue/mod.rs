//! Problems in the operator's file.
//!
//! In: what source, interpolation, decoding and checks find. Out: rendered
//! text with file, line, column and the source line, secrets masked.
//! Not here: deciding what is a problem.

mod codes;

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

pub use codes::IssueCode;

use super::mask::shortened;

/// More problems of one severity than this are counted, and not kept: the first ones say enough.
pub(super) const MAX_KEPT: usize = 100;
/// What is further apart than this many lines is shown as two pieces of the file.
const NEAR: usize = 50;
/// Longer pieces than this are not shown: a line of a megabyte says nothing.
const MAX_SHOWN: usize = 32 << 10;

/// One file's text as it may be shown: credentials are already masked.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The path as the operator named it.
    pub name: String,
    /// The text, byte for byte as long as the file, credentials replaced by `*`.
    pub text: String,
    /// Its position among the files of a configuration, in reading order.
    pub order: usize,
    /// Where each line begins, once anyone asks.
    lines: OnceLock<Vec<usize>>,
}

impl Listing {
    /// The file called `name`, the `order`th that was read.
    pub fn new(name: String, text: String, order: usize) -> Self {
        Listing { name, text, order, lines: OnceLock::new() }
    }

    /// Where each line begins. Kept, because a hundred problems ask for it.
    fn lines(&self) -> &[usize] {
        self.lines.get_or_init(|| {
            let behind = self.text.match_indices('\n').map(|(at, _)| at + 1);
            std::iter::once(0).chain(behind).collect()
        })
    }

    /// The line of a position, from 0.
    fn line(&self, at: usize) -> usize {
        self.lines().partition_point(|start| *start <= at).saturating_sub(1)
    }

    /// Where a line begins, or the text ends.
    fn start_of(&self, line: usize) -> usize {
        self.lines().get(line).copied().unwrap_or(self.text.len())
    }
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
        let line = self.listing.line(self.span.start);
        let before = self.listing.text.get(self.listing.start_of(line)..self.span.start);
        (line + 1, before.unwrap_or_default().chars().count() + 1)
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
            title: shortened(title.into()),
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
        self.label = shortened(label.into());
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(shortened(help.into()));
        self
    }

    /// Adds a second place.
    #[must_use]
    pub fn related(mut self, place: Place, label: impl Into<String>) -> Self {
        self.related = Some((place, shortened(label.into())));
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
            None => Group::with_title(title),
            Some(place) => self.render_places(title, place),
        };
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help));
        }
        renderer.render(&[group])
    }

    fn render_places<'a>(&'a self, title: annotate_snippets::Title<'a>, place: &'a Place) -> Group<'a> {
        let mark = Mark { kind: AnnotationKind::Primary, span: clipped(place), label: &self.label };
        let Some((other, label)) = &self.related else {
            return show(Group::with_title(title), &place.listing, vec![mark]);
        };
        let other_mark = Mark { kind: AnnotationKind::Context, span: clipped(other), label };
        let listing = &place.listing;
        let is_near = || listing.line(mark.span.start).abs_diff(listing.line(other_mark.span.start)) <= NEAR;
        match Arc::ptr_eq(&other.listing, listing) && is_near() {
            true => show(Group::with_title(title), listing, vec![mark, other_mark]),
            false => show(show(Group::with_title(title), listing, vec![mark]), &other.listing, vec![other_mark]),
        }
    }
}

/// A stretch to mark, and the words beside it.
struct Mark<'a> {
    kind: AnnotationKind,
    span: Range<usize>,
    label: &'a str,
}

/// Adds the lines around `marks`. Only these, because a renderer goes through all it is given.
fn show<'a>(group: Group<'a>, listing: &'a Listing, marks: Vec<Mark<'a>>) -> Group<'a> {
    let first = marks.iter().map(|mark| listing.line(mark.span.start)).min().unwrap_or_default();
    let last = marks.iter().map(|mark| listing.line(mark.span.end)).max().unwrap_or_default();
    let (start, end) = (listing.start_of(first), listing.start_of(last + 2));
    let shown = listing.text.get(start..end).filter(|shown| shown.len() <= MAX_SHOWN);
    let Some(shown) = shown else {
        return marks.iter().fold(group, |group, mark| {
            let line = listing.line(mark.span.start);
            let before = listing.text.get(listing.start_of(line)..mark.span.start).unwrap_or_default();
            let column = before.chars().count() + 1;
            group.element(Origin::path(&listing.name).line(line + 1).char_column(column))
        });
    };
    let annotations = marks.into_iter().map(|mark| {
        let annotation = mark.kind.span(mark.span.start - start..mark.span.end - start);
        if mark.label.is_empty() { annotation } else { annotation.label(mark.label) }
    });
    group.element(Snippet::source(shown).line_start(first + 1).path(&listing.name).annotations(annotations))
}

/// What is marked of a place: of a section that goes on and on, its first line.
fn clipped(place: &Place) -> Range<usize> {
    let Place { listing, span } = place;
    let (start, end) = (span.start.min(listing.text.len()), span.end.min(listing.text.len()));
    let line = listing.line(start);
    match listing.line(end) - line > NEAR {
        true => start..listing.start_of(line + 1).saturating_sub(1).max(start),
        false => start..end.max(start),
    }
}

/// All problems of a file, in file order: the first hundred errors, the first
/// hundred warnings, and how many there are beside these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Issues {
    kept: Vec<Issue>,
    more_errors: usize,
    more_warnings: usize,
    /// Nobody looked for all of them, because there were so many.
    is_cut: bool,
}

impl Issues {
    /// Adds one.
    pub fn push(&mut self, issue: Issue) {
        let severity = issue.severity();
        match self.kept.iter().filter(|kept| kept.severity() == severity).count() < MAX_KEPT {
            true => self.kept.push(issue),
            false => self.count_in(severity, 1),
        }
    }

    /// Adds all of `others`.
    pub fn append(&mut self, others: Issues) {
        others.kept.into_iter().for_each(|issue| self.push(issue));
        self.count_in(Severity::Error, others.more_errors);
        self.count_in(Severity::Warning, others.more_warnings);
        self.is_cut |= others.is_cut;
    }

    fn count_in(&mut self, severity: Severity, more: usize) {
        match severity {
            Severity::Error => self.more_errors += more,
            Severity::Warning => self.more_warnings += more,
        }
    }

    /// Notes that nobody looks for more.
    pub fn cut(&mut self) {
        self.is_cut = true;
    }

    /// Whether there are so many errors that looking for more helps nobody.
    pub fn is_enough(&self) -> bool {
        self.errors() >= MAX_KEPT
    }

    /// Whether any of them makes the file unusable.
    pub fn has_errors(&self) -> bool {
        self.errors() > 0
    }

    /// How many errors.
    pub fn errors(&self) -> usize {
        self.kept.iter().filter(|issue| issue.severity() == Severity::Error).count() + self.more_errors
    }

    /// How many warnings.
    pub fn warnings(&self) -> usize {
        self.kept.len() + self.more_errors + self.more_warnings - self.errors()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Each in turn.
    pub fn iter(&self) -> impl Iterator<Item = &Issue> {
        self.kept.iter()
    }

    /// Puts them in file order and drops exact repetitions.
    pub fn sort(&mut self) {
        self.kept.sort_by_key(|issue| {
            let start = issue.place.as_ref().map_or((0, 0), |place| (place.listing.order, place.span.start));
            (start, issue.severity(), issue.code)
        });
        self.kept.dedup();
    }

    /// Makes an error of every warning.
    pub fn raise(&mut self) {
        for issue in self.kept.iter_mut() {
            issue.severity = Severity::Error;
        }
        self.more_errors += std::mem::take(&mut self.more_warnings);
    }

    /// The text for a person, in colour for a terminal that has it.
    pub fn render(&self, colour: Colour) -> String {
        let renderer = match colour {
            Colour::Ansi => Renderer::styled(),
            Colour::Plain => Renderer::plain(),
        };
        let renderer = renderer.decor_style(DecorStyle::Ascii);
        let mut text = String::new();
        for issue in &self.kept {
            text.push_str(&issue.render(&renderer));
            text.push_str("\n\n");
        }
        let more = self.more_errors + self.more_warnings;
        if more > 0 || self.is_cut {
            let number = if self.is_cut { "perhaps more".to_owned() } else { format!("{more} more") };
            text.push_str(&format!("There are {number}; only the first are shown.\n\n"));
        }
        text
    }

    /// `2 errors, 1 warning`.
    pub fn count(&self) -> String {
        let plural = |count: usize, word: &str| match count {
            1 => format!("1 {word}"),
            _ => format!("{count} {word}s"),
        };
        let mut count = match (self.errors(), self.warnings()) {
            (errors, 0) => plural(errors, "error"),
            (0, warnings) => plural(warnings, "warning"),
            (errors, warnings) => format!("{}, {}", plural(errors, "error"), plural(warnings, "warning")),
        };
        if self.is_cut {
            count.push_str(", perhaps more");
        }
        count
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
