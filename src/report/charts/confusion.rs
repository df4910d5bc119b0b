//! Which classes are taken for which.

use super::super::ConfusionPlot;
use super::figure::{Figure, escape};

/// A table whose cells are the darker the larger their share of the row; `None` without a counted object.
pub(in super::super) fn figure(plot: &ConfusionPlot) -> Option<Figure> {
    let total: usize = plot.counts.iter().flatten().sum();
    if total == 0 {
        return None;
    }
    let heads: String = plot.classes.iter().map(|c| format!("<th scope=\"col\">{}</th>", escape(c))).collect();
    let mut rows = String::new();
    for (class, counts) in plot.classes.iter().zip(&plot.counts) {
        let all: usize = counts.iter().sum();
        rows += &format!("<tr><th scope=\"row\">{}</th>", escape(class));
        for count in counts.iter().take(plot.classes.len()) {
            if all == 0 {
                rows += "<td>–</td>";
                continue;
            }
            let percent = 100.0 * *count as f64 / all as f64;
            let dark = if percent > 50.0 { " class=\"dark\"" } else { "" };
            rows += &format!("<td{dark} style=\"--share:{percent:.0}%\"><b>{percent:.0} %</b><br>{count}</td>");
        }
        rows += "</tr>\n";
    }
    let body = format!(
        "<div class=\"scroll\"><table class=\"confusion\">\n<thead><tr><td></td><th colspan=\"{}\">predicted</th></tr>\n\
         <tr><th scope=\"col\">true</th>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>",
        plot.classes.len()
    );
    let caption = format!(
        "{total} held-out objects. Each row sums to 100 %: what became of the objects of that class. A good probe has \
         a dark diagonal."
    );
    Some(Figure { title: format!("{} from {}", plot.name, plot.from), key: Vec::new(), body, caption, wide: false })
}
