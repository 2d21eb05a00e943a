//! What agentd costs, against floors measured in the same run. Runs on a real Debian host as root (`make bench`
//! boots one): it lays files below /srv and uses systemd, dpkg and nftables as they are there.
//!
//! Ours and the floor take turns, and times are medians: read the ratios, since machines are shared. Counts are
//! exact. Each figure is printed as a line that the laboratory collects.
//!
//! ```text
//! passes quiet W1|W2|W3|growth               passes in this process
//! passes files NAME W1|W2 N                   the installed daemon undoes what is done by hand
//! passes firewall N | services | start ... | command ...
//! ```

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench measures the machine by the machine's own means and prints what it saw"
)]

mod clock;
mod quiet;
#[allow(dead_code, reason = "the other half, reading and tables, is the laboratory's")]
mod row;
mod site;
mod undo;
mod work;

use row::Row;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse().expect("a number");
    match words[..] {
        ["quiet", "W1"] => quiet::w1(),
        ["quiet", "W2"] => quiet::w2(),
        ["quiet", "W3"] => quiet::w3(),
        ["quiet", "growth"] => quiet::growth(),
        ["files", name, "W1", rounds] => undo::files(name, &work::W1, number(rounds)),
        ["files", name, "W2", rounds] => undo::files(name, &work::W2, number(rounds)),
        ["firewall", rounds] => undo::firewall(number(rounds)),
        ["services"] => undo::services(),
        ["start", figure, unit, floor, beyond, rounds] => {
            undo::start(figure, unit, floor, beyond.parse().expect("milliseconds"), number(rounds));
        }
        ["command", figure, ours, floor, beyond, rounds] => {
            undo::command(figure, ours, floor, beyond.parse().expect("milliseconds"), number(rounds));
        }
        _ => {
            println!("run by `make bench` in a host of the laboratory; see the top of benches/passes/main.rs")
        }
    }
}

/// Prints a figure for the laboratory.
fn say(row: Row) {
    println!("{}", row.to_line());
}
