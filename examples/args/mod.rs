//! Command lines for the examples: `--name value`, `--name=value`, and words.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::fmt::Display;
use std::process;
use std::str::FromStr;
use std::time::Duration;

/// The command line, taken one option or word at a time.
pub(crate) struct Args {
    rest: env::ArgsOs,
    option: String,
    value: Option<String>,
    only_words: bool,
}

/// What stands next on the command line.
pub(crate) enum Arg {
    Option(String),
    Word(String),
}

impl Args {
    /// All but the program's name.
    pub(crate) fn from_env() -> Args {
        let mut rest = env::args_os();
        rest.next();
        Args { rest, option: String::new(), value: None, only_words: false }
    }

    /// The next option, without its value, or the next word.
    pub(crate) fn next(&mut self) -> Result<Option<Arg>, String> {
        if self.value.is_some() {
            return Err(format!("{} takes no value", self.option));
        }
        let Some(word) = self.rest.next().map(text).transpose()? else { return Ok(None) };
        if self.only_words || !word.starts_with('-') || word == "-" {
            return Ok(Some(Arg::Word(word)));
        }
        if word == "--" {
            self.only_words = true;
            return self.next();
        }
        match word.split_once('=') {
            Some((option, value)) if option.starts_with("--") => {
                self.option = option.to_owned();
                self.value = Some(value.to_owned());
            }
            _ => self.option = word,
        }
        Ok(Some(Arg::Option(self.option.clone())))
    }

    /// The value of the option that was taken last.
    pub(crate) fn value(&mut self) -> Result<String, String> {
        match self.value.take() {
            Some(value) => Ok(value),
            None => self.rest.next().map_or_else(|| Err(format!("{} needs a value", self.option)), text),
        }
    }

    /// The same, as a number or whatever else can be read from text.
    pub(crate) fn parse<T: FromStr<Err: Display>>(&mut self) -> Result<T, String> {
        let value = self.value()?;
        value.parse().map_err(|error| format!("{} {value}: {error}", self.option))
    }

    /// The same, in seconds; fractions are allowed.
    pub(crate) fn seconds(&mut self) -> Result<Duration, String> {
        let seconds = self.parse()?;
        Duration::try_from_secs_f64(seconds).map_err(|error| format!("{} {seconds}: {error}", self.option))
    }
}

/// Says what is wrong, in one line: whatever was typed stays in it.
pub(crate) fn complain(program: &str, problem: &str) {
    eprintln!("{program}: {}", problem.replace(|c: char| c.is_control(), " "));
}

/// An error with all its causes.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// What `--help` is for.
pub(crate) fn help(usage: &str) -> ! {
    println!("{usage}");
    process::exit(0)
}

fn text(word: OsString) -> Result<String, String> {
    word.into_string().map_err(|word| format!("{} is not UTF-8", word.to_string_lossy()))
}
