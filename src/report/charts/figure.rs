//! A chart with its title, its key and its caption.

use super::colours::{REFERENCE, hex};
use plotters::style::RGBColor;

/// One figure of the page. Text is not escaped yet, `body` is.
pub(in super::super) struct Figure {
    pub(in super::super) title: String,
    /// Colour and text of each entry.
    pub(in super::super) key: Vec<(RGBColor, String)>,
    /// SVG or HTML.
    pub(in super::super) body: String,
    /// What to look for.
    pub(in super::super) caption: String,
    /// Whether the figure takes the whole width of the page.
    pub(in super::super) wide: bool,
}

impl Figure {
    /// Title, key, body and caption: always these four, for figures that stand side by side line them up.
    pub(in super::super) fn html(&self) -> String {
        let entry = |(colour, text): &(RGBColor, String)| {
            let mark = match *colour {
                REFERENCE => format!("<path d=\"M0 5h4m2 0h4\" stroke=\"{}\" stroke-width=\"2\"/>", hex(REFERENCE)),
                colour => format!("<circle cx=\"5\" cy=\"5\" r=\"5\" fill=\"{}\"/>", hex(colour)),
            };
            format!("<li><svg viewBox=\"0 0 10 10\" aria-hidden=\"true\">{mark}</svg>{}</li>", escape(text))
        };
        let key: String = self.key.iter().map(entry).collect();
        format!(
            "<figure{}>\n<h3>{}</h3>\n<ul class=\"key\">{key}</ul>\n{}\n<figcaption>{}</figcaption>\n</figure>\n",
            if self.wide { " class=\"wide\"" } else { "" },
            escape(&self.title),
            self.body,
            escape(&self.caption),
        )
    }
}

/// Text for HTML, also inside a quoted attribute.
pub(in super::super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // A page may hold no other control characters.
            c if c.is_control() && !matches!(c, '\n' | '\t') => escaped.push('\u{FFFD}'),
            c => escaped.push(c),
        }
    }
    escaped
}
