//! What the agent's history says of who did it, against who did.

use std::fmt;

use serde_json::Value as Json;

use super::way::Truth;

/// What a drift's record says of who made it, in its own words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub confidence: String,
    pub user: Option<String>,
    pub login: Option<String>,
    pub program: Option<String>,
    /// The unit or container, for a person to read; not scored.
    pub place: Option<String>,
    pub evidence: Vec<String>,
    pub reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Score {
    Right,
    Unknown,
    Wrong,
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Score::Right => "right",
            Score::Unknown => "unknown",
            Score::Wrong => "WRONG",
        })
    }
}

/// Reads the last word about a drift, from `agentctl history --json`.
pub fn told(drift: &Json) -> Told {
    let last = &drift["attribution"];
    if last.is_null() {
        return Told { reason: "no word of it".to_owned(), ..Told::default() };
    }
    let text = |value: &Json| value.as_str().filter(|text| !text.is_empty()).map(ToOwned::to_owned);
    let account = |value: &Json| text(&value["name"]).or(value["uid"].as_u64().map(|uid| uid.to_string()));
    let actor = &last["actor"];
    Told {
        confidence: text(&last["confidence"]).unwrap_or_default(),
        user: account(&actor["user"]),
        login: account(&actor["login"]),
        program: text(&actor["process"]["executable"]),
        place: text(&actor["container"]).or(text(&actor["unit"])),
        evidence: last["evidence"].as_array().into_iter().flatten().filter_map(text).collect(),
        reason: text(&last["reason"]).unwrap_or_default(),
    }
}

/// Right is all of it, sure enough; wrong is any name that is not so; everything between is unknown.
pub fn judge(truth: &Truth, told: &Told) -> Score {
    if !matches!(told.confidence.as_str(), "likely" | "certain") {
        return Score::Unknown;
    }
    let user = told.user.as_deref().map(|user| is_account(user, truth.user));
    let login = match (&told.login, truth.login) {
        (None, None) => Some(true),
        (None, Some(_)) => None,
        (Some(_), None) => Some(false),
        (Some(told), Some(login)) => Some(is_account(told, login)),
    };
    let program =
        told.program.as_deref().map(|program| truth.programs.iter().any(|right| is_same(program, right)));
    let answers = [user, login, program];
    if answers.contains(&Some(false)) {
        Score::Wrong
    } else if answers.contains(&None) {
        Score::Unknown
    } else {
        Score::Right
    }
}

/// Whether both name one account. Of a process in a container the agent tells the number alone, since that account has
/// its name there; and the number of root is known.
fn is_account(told: &str, right: &str) -> bool {
    told == right || (told == "0" && right == "root")
}

/// Whether both name one program. The directories for programs are one on Debian, the links of alternatives and
/// versions lead to `python3.11` and the like, and the kernel marks a file that was deleted.
fn is_same(told: &str, right: &str) -> bool {
    let told = told.strip_suffix(" (deleted)").unwrap_or(told);
    let below_usr = |path: &str| match path.starts_with("/bin/") || path.starts_with("/sbin/") {
        true => format!("/usr{path}"),
        false => path.to_owned(),
    };
    let (told, right) = (below_usr(told), below_usr(right));
    let rest = told.strip_prefix(&right);
    rest.is_some_and(|rest| rest.bytes().all(|byte| byte == b'.' || byte.is_ascii_digit()))
}

#[test]
fn a_name_is_right_only_if_user_login_and_program_are_and_wrong_if_one_is_not() {
    let truth = Truth { login: Some("ada"), user: "root", programs: vec!["/usr/bin/python3"] };
    let some = |text: &str| Some(text.to_owned());
    let right = Told {
        confidence: "likely".to_owned(),
        user: some("root"),
        login: some("ada"),
        program: some("/usr/bin/python3.11"),
        ..Told::default()
    };
    assert_eq!(judge(&truth, &right), Score::Right);
    assert_eq!(judge(&truth, &Told { confidence: "unknown".to_owned(), ..right.clone() }), Score::Unknown);
    assert_eq!(judge(&truth, &Told { user: some("0"), ..right.clone() }), Score::Right);
    assert_eq!(judge(&truth, &Told { login: None, ..right.clone() }), Score::Unknown);
    assert_eq!(judge(&truth, &Told { program: None, ..right.clone() }), Score::Unknown);
    assert_eq!(judge(&truth, &Told { login: some("ben"), ..right.clone() }), Score::Wrong);
    assert_eq!(judge(&truth, &Told { user: some("ada"), program: None, ..right.clone() }), Score::Wrong);
    assert_eq!(judge(&truth, &Told { program: some("/usr/bin/python3x"), ..right.clone() }), Score::Wrong);
    assert_eq!(judge(&Truth { login: None, ..truth }, &right), Score::Wrong);
}
