//! Asks whoever sits at the terminal.
//!
//! In: lines. Out: values that parse. Not here: whether to ask at all.

use std::fmt::Display;
use std::io::{BufRead, Write};
use std::str::FromStr;

use anyhow::bail;

/// Somebody to ask.
pub(super) struct Questions<'a> {
    pub(super) input: &'a mut dyn BufRead,
    pub(super) output: &'a mut dyn Write,
}

impl Questions<'_> {
    /// The answer, or what is usual where nothing was answered.
    pub(super) fn ask<T>(&mut self, question: &str, usual: &str) -> anyhow::Result<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        loop {
            write!(self.output, "{question} [{usual}] ")?;
            self.output.flush()?;
            let mut line = String::new();
            if self.input.read_line(&mut line)? == 0 {
                bail!("nobody answers; --yes takes what is usual");
            }
            let answer = match line.trim() {
                "" => usual,
                answer => answer,
            };
            match answer.parse() {
                Ok(value) => return Ok(value),
                Err(problem) => writeln!(self.output, "{problem}")?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::scalar::Endpoint;

    fn ask(lines: &str) -> (anyhow::Result<Endpoint>, String) {
        let (mut input, mut output) = (lines.as_bytes(), Vec::new());
        let answer = Questions { input: &mut input, output: &mut output }.ask("Where?", "https://usual.example.com");
        (answer, String::from_utf8(output).unwrap())
    }

    #[test]
    fn nothing_means_the_usual_and_nonsense_is_asked_again() {
        let (answer, shown) = ask("\n");
        assert_eq!(answer.unwrap().to_string(), "https://usual.example.com");
        assert_eq!(shown, "Where? [https://usual.example.com] ");
        let (answer, shown) = ask("ftp://x\n  https://mine.example.com \n");
        assert_eq!(answer.unwrap().to_string(), "https://mine.example.com");
        assert_eq!(shown.matches("Where?").count(), 2, "{shown}");
        assert!(ask("").0.is_err(), "the end of input is no answer");
    }
}
