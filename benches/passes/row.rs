//! One figure of the benchmark: what was measured, beside its floor and its goal. The program in the host prints rows,
//! the laboratory collects them into one table.

use std::fmt;

/// What is asked of a figure. Each part holds by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Goal {
    /// At most this many times the floor.
    pub ratio: Option<f64>,
    /// At most this much.
    pub most: Option<f64>,
    /// At most this much more than the floor.
    pub beyond: Option<f64>,
}

impl Goal {
    pub const fn ratio(ratio: f64) -> Self {
        Goal { ratio: Some(ratio), most: None, beyond: None }
    }

    pub const fn most(most: f64) -> Self {
        Goal { ratio: None, most: Some(most), beyond: None }
    }

    pub const fn beyond(beyond: f64) -> Self {
        Goal { ratio: None, most: None, beyond: Some(beyond) }
    }

    pub const fn and_most(self, most: f64) -> Self {
        Goal { most: Some(most), ..self }
    }
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub figure: String,
    pub unit: String,
    pub measured: f64,
    pub floor: Option<f64>,
    pub goal: Goal,
}

/// What a printed row begins with.
const MARK: &str = "row";

impl Row {
    pub fn new(figure: &str, unit: &str, measured: f64, goal: Goal) -> Self {
        Row { figure: figure.to_owned(), unit: unit.to_owned(), measured, floor: None, goal }
    }

    pub fn over(self, floor: f64) -> Self {
        Row { floor: Some(floor), ..self }
    }

    /// The row that `to_line` printed.
    pub fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split('\t').collect();
        let [MARK, figure, unit, measured, floor, ratio, most, beyond] = fields[..] else { return None };
        let number = |text: &str| text.parse().ok();
        let goal = Goal { ratio: number(ratio), most: number(most), beyond: number(beyond) };
        let row = Row::new(figure, unit, number(measured)?, goal);
        Some(Row { floor: number(floor), ..row })
    }

    /// As one line that `parse` reads.
    pub fn to_line(&self) -> String {
        let shown = |number: Option<f64>| number.map(|number| number.to_string()).unwrap_or_default();
        let Goal { ratio, most, beyond } = self.goal;
        let numbers = [Some(self.measured), self.floor, ratio, most, beyond].map(shown).join("\t");
        format!("{MARK}\t{}\t{}\t{numbers}", self.figure, self.unit)
    }

    /// Whether the goal is met; none where there is none.
    pub fn is_met(&self) -> Option<bool> {
        let Goal { ratio, most, beyond } = self.goal;
        let over = |floor: f64| {
            ratio.is_none_or(|ratio| self.measured <= ratio * floor)
                && beyond.is_none_or(|beyond| self.measured <= floor + beyond)
        };
        let goals = [ratio, most, beyond];
        let holds = most.is_none_or(|most| self.measured <= most) && self.floor.is_none_or(over);
        goals.iter().any(Option::is_some).then_some(holds)
    }

    fn goal_in_words(&self) -> String {
        let Goal { ratio, most, beyond } = self.goal;
        let unit = &self.unit;
        let parts = [
            ratio.map(|ratio| format!("{ratio} x floor")),
            most.map(|most| format!("{most} {unit}")),
            beyond.map(|beyond| format!("floor + {beyond} {unit}")),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// The whole table, and how many goals were met.
pub struct Table(pub Vec<Row>);

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wide = self.0.iter().map(|row| row.figure.chars().count()).max().unwrap_or(0);
        writeln!(
            f,
            "{:<wide$} {:>12} {:>10} {:>6}  {:<28} met",
            "figure", "measured", "floor", "ratio", "goal: at most"
        )?;
        for row in &self.0 {
            let measured = format!("{} {}", short(row.measured), row.unit);
            let floor = row.floor.map(short).unwrap_or_default();
            let ratio = row.floor.filter(|floor| *floor > 0.0);
            let ratio = ratio.map(|floor| format!("{:.2}", row.measured / floor)).unwrap_or_default();
            let met = match row.is_met() {
                None => "",
                Some(true) => "yes",
                Some(false) => "NO",
            };
            let (figure, goal) = (&row.figure, row.goal_in_words());
            writeln!(f, "{figure:<wide$} {measured:>12} {floor:>10} {ratio:>6}  {goal:<28} {met}")?;
        }
        let asked: Vec<bool> = self.0.iter().filter_map(Row::is_met).collect();
        let met = asked.iter().filter(|met| **met).count();
        writeln!(f, "{met} of {} goals met", asked.len())
    }
}

/// Three digits or so: more would be noise.
fn short(number: f64) -> String {
    match number.abs() {
        size if size == size.trunc() && size < 1e6 => format!("{number:.0}"),
        size if size < 10.0 => format!("{number:.2}"),
        size if size < 100.0 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}
