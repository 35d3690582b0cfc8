//! Draws sequence diagrams: from the texts in docs/diagrams, SVG files next to them that follow the
//! reader's light or dark colours.
//!
//! The first line of a text names the participants: `short=Long name | …`. Each other line is an arrow,
//! `from -> to: label` (`-->` for a response), or a note, `who: text`.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Width of a column, in pixels like everything else here.
const COLUMN: usize = 230;
const LINE: usize = 17;
/// The widest line of a label, in characters.
const LABEL: usize = 31;
const TOP: usize = 62;
const STYLE: &str = "\
svg{color-scheme:light dark;--back:#fff;--text:#1f2328;--edge:#57606a;--box:#f0f2f5}\
@media(prefers-color-scheme:dark){svg{--back:#14161a;--text:#e6e8eb;--edge:#9aa4b0;--box:#262b33}}\
text{font:13px system-ui,sans-serif;fill:var(--text);text-anchor:middle}\
.label{paint-order:stroke;stroke:var(--back);stroke-width:5px}.name{font-weight:600}.back{fill:var(--back)}.box{fill:var(--box);stroke:var(--edge)}\
path{stroke:var(--edge);fill:none}.head{fill:var(--edge)}.life,.response{stroke-dasharray:4 4}";

/// Draws the diagram of each text in the folder.
pub(crate) fn diagrams(folder: &Path) -> Result<()> {
    for (path, drawing) in drawings(folder)? {
        fs::write(path, drawing)?;
    }
    Ok(())
}

/// The files to write, and their contents.
fn drawings(folder: &Path) -> Result<Vec<(PathBuf, String)>> {
    let mut drawings = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let drawing = draw(&fs::read_to_string(&path)?);
            let drawing = drawing.map_err(|fault| format!("{}: {fault}", path.display()))?;
            drawings.push((path.with_extension("svg"), drawing));
        }
    }
    Ok(drawings)
}

/// The lifelines of a diagram, from left to right.
struct Participants<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Participants<'a> {
    fn parse(line: &'a str) -> Result<Self> {
        let names = line.split(" | ").map(|name| name.split_once('='));
        names.collect::<Option<_>>().map(Self).ok_or_else(|| format!("no names: {line}").into())
    }

    /// The x coordinate of the lifeline with this short name.
    fn place(&self, short: &str) -> Result<usize> {
        let index = self.0.iter().position(|(known, _)| *known == short);
        index.map(middle).ok_or_else(|| format!("there is no participant {short:?}").into())
    }
}

fn middle(column: usize) -> usize {
    column * COLUMN + COLUMN / 2
}

fn draw(text: &str) -> Result<String> {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let participants = Participants::parse(lines.next().ok_or("it is empty")?)?;
    let (mut drawn, mut y) = (String::new(), TOP);
    for line in lines {
        let (ends, label) = line.split_once(": ").ok_or_else(|| format!("no label: {line}"))?;
        match ends
            .split_once(" --> ")
            .map(|ends| (ends, " response"))
            .or_else(|| ends.split_once(" -> ").map(|ends| (ends, "")))
        {
            Some(((from, to), class)) => {
                let (from, to) = (participants.place(from)?, participants.place(to)?);
                arrow(&mut drawn, from, to, class, label, &mut y)?;
            }
            None => note(&mut drawn, participants.place(ends)?, label, &mut y)?,
        }
    }
    let (width, height) = (participants.0.len() * COLUMN, y + 14);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\">\n<style>{STYLE}</style>\n\
         <rect class=\"back\" width=\"{width}\" height=\"{height}\"/>\n"
    );
    for (column, (_, name)) in participants.0.iter().enumerate() {
        let x = middle(column);
        writeln!(svg, "<path class=\"life\" d=\"M{x} 40V{}\"/>", height - 8)?;
        boxed(&mut svg, x, 10, &[(*name).to_owned()], " class=\"name\"")?;
    }
    Ok(svg + &drawn + "</svg>\n")
}

/// An arrow below its label. To itself, it is a note.
fn arrow(
    drawn: &mut String,
    from: usize,
    to: usize,
    class: &str,
    label: &str,
    y: &mut usize,
) -> Result<()> {
    let columns = from.abs_diff(to) / COLUMN;
    for line in wrapped(label, LABEL * columns.max(1)) {
        writeln!(
            drawn,
            "<text class=\"label\" x=\"{}\" y=\"{y}\">{}</text>",
            (from + to) / 2,
            escaped(&line)
        )?;
        *y += LINE;
    }
    let at = *y - 9;
    let (tip, back) = if to > from { (to - 1, to - 9) } else { (to + 1, to + 9) };
    writeln!(drawn, "<path class=\"arrow{class}\" d=\"M{from} {at}H{back}\"/>")?;
    writeln!(drawn, "<path class=\"head\" d=\"M{tip} {at}L{back} {}V{}Z\"/>", at - 4, at + 4)?;
    *y += LINE;
    Ok(())
}

/// A box on a lifeline.
fn note(drawn: &mut String, x: usize, text: &str, y: &mut usize) -> Result<()> {
    let lines = wrapped(text, LABEL);
    boxed(drawn, x, *y - LINE, &lines, "")?;
    *y += lines.len() * LINE + LINE + 4;
    Ok(())
}

fn boxed(drawn: &mut String, x: usize, y: usize, lines: &[String], class: &str) -> Result<()> {
    let (width, height) = (COLUMN - 16, lines.len() * LINE + 12);
    let left = x - width / 2;
    writeln!(
        drawn,
        "<rect class=\"box\" x=\"{left}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"5\"/>"
    )?;
    for (index, line) in lines.iter().enumerate() {
        let y = y + 18 + index * LINE;
        writeln!(drawn, "<text{class} x=\"{x}\" y=\"{y}\">{}</text>", escaped(line))?;
    }
    Ok(())
}

/// Lines of at most this many characters, unless a word is longer.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/diagrams")
    }

    #[test]
    fn each_diagram_is_generated_from_its_source() {
        let drawings = drawings(&folder()).unwrap();
        assert!(drawings.len() >= 3);
        for (path, drawing) in drawings {
            let present = fs::read_to_string(&path).unwrap_or_default();
            assert!(present == drawing, "{}: run `make diagrams`", path.display());
        }
    }

    #[test]
    fn a_name_that_is_not_a_participant_is_a_fault() {
        let fault = draw("a=A | b=B\na -> c: x").unwrap_err().to_string();
        assert_eq!(fault, "there is no participant \"c\"");
        assert!(draw("a=A | b=B\na -> b x").is_err());
        assert!(draw("").is_err());
    }
}
