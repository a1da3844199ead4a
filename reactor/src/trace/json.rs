//! JSON, as far as records need it: one object a line.

use std::fmt;
use std::io::{self, Write};

use super::Trace;
use super::step::{Step, Value};

/// Writes a record a line, in order, with the loop's number and nanoseconds.
pub(super) fn write_lines(traces: &[Trace], out: &mut impl Write) -> io::Result<()> {
    for trace in traces {
        let number = trace.loop_number;
        if trace.overwritten > 0 {
            let at = trace.records.first().map_or(0, |record| record.at);
            let count = trace.overwritten;
            writeln!(
                out,
                r#"{{"at":{at},"loop":{number},"event":"overwritten","records":{count}}}"#
            )?;
        }
        for record in &trace.records {
            let step = record.event.step();
            let at = record.at;
            write!(out, r#"{{"at":{at},"loop":{number},"event":{}"#, Quoted(step.name))?;
            write_fields(&step, ",", out)?;
            out.write_all(b"}\n")?;
        }
    }
    Ok(())
}

/// Writes what a step is about, and its values, with `before` before the first.
pub(super) fn write_fields(step: &Step, before: &str, out: &mut impl Write) -> io::Result<()> {
    let mut before = before;
    if let Some(source) = step.about {
        write!(out, r#"{before}"about":"{source}""#)?;
        before = ",";
    }
    for (name, value) in &step.details {
        write!(out, r#"{before}"{name}":{value}"#)?;
        before = ",";
    }
    Ok(())
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Text(text) => Quoted(text).fmt(f),
        }
    }
}

/// A string of JSON.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for character in self.0.chars() {
            match character {
                '"' | '\\' => write!(f, "\\{character}")?,
                '\0'..='\x1f' => write!(f, "\\u{:04x}", u32::from(character))?,
                character => write!(f, "{character}")?,
            }
        }
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_may_hold_anything() {
        let text = "a \"name\"\\ on\ttwo\nlines, é";
        assert_eq!(Quoted(text).to_string(), r#""a \"name\"\\ on\u0009two\u000alines, é""#);
        let back: String = serde_json::from_str(&Quoted(text).to_string()).unwrap();
        assert_eq!(back, text);
    }
}
