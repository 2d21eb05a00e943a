//! The blocks of an nft text listing with handles (`nft -a -s list …`).

/// One block of a table: a set, a chain, a limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    opening: String,
    /// Lines that are neither rules nor elements.
    pub head: Vec<String>,
    /// Lines of a set's elements.
    pub elements: Vec<String>,
    /// Rules: handle and text.
    pub rules: Vec<(u64, String)>,
}

impl Block {
    /// Whether it is the block of this object.
    pub fn is(&self, kind: &str, name: &str) -> bool {
        self.opening.strip_prefix(kind).and_then(|rest| rest.strip_prefix(' ')) == Some(name)
    }

    /// Whether its elements come and go by themselves.
    pub fn dynamic(&self) -> bool {
        let flags = self.head.iter().filter_map(|line| line.strip_prefix("flags "));
        flags.flat_map(|flags| flags.split(',')).any(|flag| flag.trim() == "dynamic")
    }
}

/// All blocks of all tables in a listing, in order.
pub fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    let mut in_elements = false;
    for line in text.lines() {
        let (line, handle) = without_handle(line);
        match (&mut open, line) {
            (Some(_), "\t}") => {
                blocks.extend(open.take());
                in_elements = false;
            }
            (Some(block), _) => {
                let content = line.trim_start_matches('\t').to_owned();
                in_elements |= content.starts_with("elements = {");
                match (in_elements, handle) {
                    (true, _) => block.elements.push(content.trim_start().to_owned()),
                    (false, Some(handle)) => block.rules.push((handle, content)),
                    (false, None) => block.head.push(content),
                }
            }
            (None, _) => {
                let opening = line.strip_prefix('\t').and_then(|line| line.strip_suffix(" {"));
                open = opening.map(|opening| Block { opening: opening.to_owned(), ..Block::default() });
            }
        }
    }
    blocks
}

/// A line without its ` # handle 12`, and the number.
fn without_handle(line: &str) -> (&str, Option<u64>) {
    match line.rsplit_once(" # handle ") {
        Some((rest, number)) => match number.parse() {
            Ok(handle) => (rest, Some(handle)),
            Err(_) => (line, None),
        },
        None => (line, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_told_apart_and_handles_taken_off() {
        let text = "table inet agentd { # handle 2\n\tset a.v4 { # handle 4\n\t\ttype ipv4_addr\n\
                    \t\tflags dynamic,timeout\n\t\telements = { 10.0.0.0/8, 192.0.2.1,\n\t\t\t     192.0.2.5 }\n\t}\n\n\
                    \tchain input { # handle 1\n\t\ttype filter hook input priority filter; policy drop;\n\
                    \t\ttcp dport 22 accept comment \"x # handle 7\" # handle 9\n\t}\n}\n";
        let blocks = blocks(text);
        assert_eq!(blocks.len(), 2);
        assert!(blocks[0].is("set", "a.v4") && !blocks[0].is("set", "a"));
        assert!(blocks[0].dynamic() && !blocks[1].dynamic());
        assert_eq!(blocks[0].elements, ["elements = { 10.0.0.0/8, 192.0.2.1,", "192.0.2.5 }"]);
        assert_eq!(blocks[1].head, ["type filter hook input priority filter; policy drop;"]);
        assert_eq!(blocks[1].rules, [(9, "tcp dport 22 accept comment \"x # handle 7\"".to_owned())]);
    }
}
