//! Bars as SVG: what stands in the documents.

use std::fmt::Write;

/// Bars in groups, one bar of each series in a group.
pub struct Plot<'a> {
    pub title: &'a str,
    pub unit: &'a str,
    pub series: &'a [&'a str],
    /// A group's label, and a value for each series; a value that is missing has no bar.
    pub groups: Vec<(String, Vec<Option<f64>>)>,
}

const COLOURS: [&str; 3] = ["#1f6feb", "#8b949e", "#d29922"];
const LEFT: f64 = 60.0;
const TOP: f64 = 56.0;
const HEIGHT: f64 = 220.0;
const BAR: f64 = 26.0;

impl Plot<'_> {
    /// The picture, with dark text on white, so that it can be read wherever it is shown.
    pub fn svg(&self) -> String {
        let longest = self.groups.iter().flat_map(|(label, _)| label.split('\n')).map(str::len).max().unwrap_or(0);
        let group = (BAR * (self.series.len() as f64 + 1.2)).max(longest as f64 * 7.0);
        let width = (LEFT + group * self.groups.len() as f64 + 20.0).max(420.0);
        let values = self.groups.iter().flat_map(|(_, values)| values).flatten();
        let top = round_up(values.fold(1e-9, |top: f64, value| top.max(*value)));
        let height = TOP + HEIGHT + 50.0;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
             font-family=\"sans-serif\" font-size=\"12\" fill=\"#1f2328\">\n<rect width=\"100%\" height=\"100%\" \
             fill=\"#ffffff\"/>\n"
        );
        text(&mut svg, (LEFT, 18.0), "start", &format!("{}, {}", self.title, self.unit));
        for (index, name) in self.series.iter().enumerate() {
            let x = LEFT + 120.0 * index as f64;
            _ = writeln!(svg, "<rect x=\"{x}\" y=\"28\" width=\"10\" height=\"10\" fill=\"{}\"/>", COLOURS[index]);
            text(&mut svg, (x + 14.0, 37.0), "start", name);
        }
        for step in 0..=4 {
            let value = top * f64::from(step) / 4.0;
            let y = TOP + HEIGHT * (1.0 - value / top);
            _ = writeln!(svg, "<path d=\"M{LEFT} {y:.1}H{width:.0}\" stroke=\"#d0d7de\"/>");
            text(&mut svg, (LEFT - 6.0, y + 4.0), "end", &short(value));
        }
        for (index, (label, values)) in self.groups.iter().enumerate() {
            let x = LEFT + group * (index as f64 + 0.5) - BAR * self.series.len() as f64 / 2.0;
            for (number, value) in values.iter().enumerate() {
                let Some(value) = value else { continue };
                let (x, tall) = (x + BAR * number as f64, HEIGHT * value / top);
                let y = TOP + HEIGHT - tall;
                let (wide, colour) = (BAR - 4.0, COLOURS[number]);
                _ = writeln!(
                    svg,
                    "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{wide}\" height=\"{tall:.1}\" fill=\"{colour}\"/>"
                );
                text(&mut svg, (x + wide / 2.0, y - 4.0), "middle", &short(*value));
            }
            let middle = x + BAR * self.series.len() as f64 / 2.0;
            for (line, part) in label.split('\n').enumerate() {
                text(&mut svg, (middle, TOP + HEIGHT + 18.0 + 15.0 * line as f64), "middle", part);
            }
        }
        svg + "</svg>\n"
    }
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, content: &str) {
    _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{content}</text>");
}

/// The next of 1, 2, 4, 6, 8, 10 times a power of ten.
fn round_up(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 4.0, 6.0, 8.0, 10.0].map(|step| step * power).into_iter().find(|step| *step >= value).unwrap_or(value)
}

fn short(value: f64) -> String {
    if value >= 100.0 || value == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}
