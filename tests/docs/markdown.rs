//! Fenced blocks, table rows and links of a Markdown page.

/// A fenced block.
pub(crate) struct Block {
    /// The first word behind the fence.
    pub(crate) language: &'static str,
    /// What stands behind the comma, if anything.
    pub(crate) flags: &'static str,
    /// The line of the fence, from 1.
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// Every fenced block in order.
pub(crate) fn blocks(page: &str) -> impl Iterator<Item = Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in page.lines().enumerate() {
        let Some(info) = line.strip_prefix("```") else {
            if let Some(block) = &mut open {
                block.text.push_str(line);
                block.text.push('\n');
            }
            continue;
        };
        match open.take() {
            Some(block) => blocks.push(block),
            None => {
                // A test lives as long as its pages.
                let info: &'static str = info.to_owned().leak();
                let (language, flags) = info.split_once(',').unwrap_or((info, ""));
                open = Some(Block { language, flags, line: index + 1, text: String::new() });
            }
        }
    }
    assert!(open.is_none(), "a fence is not closed");
    blocks.into_iter()
}

/// The cells of every table row, backquotes taken off; not the rules below headings.
pub(crate) fn rows(page: &str) -> impl Iterator<Item = Vec<&str>> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    rows.map(|row| row.split(" | ").map(|cell| cell.trim().trim_matches('`')).collect())
}

/// What GitHub calls the headings in links.
pub(crate) fn anchors(page: &str) -> impl Iterator<Item = String> {
    let headings = page.lines().filter_map(|line| line.strip_prefix('#'));
    headings.map(|line| {
        let text = line.trim_start_matches('#').trim().to_lowercase();
        let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

/// The targets of `[text](target)`, those in code left out.
pub(crate) fn links(page: &str) -> Vec<&str> {
    let mut targets = Vec::new();
    let mut code = false;
    for line in page.lines() {
        code ^= line.starts_with("```");
        if !code {
            targets.extend(line.split("](").skip(1).filter_map(|rest| rest.split(')').next()));
        }
    }
    targets
}
