//! One way of making a change: what is done, and who did it.

/// How a way begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The script is the command of a real ssh login of this person.
    Login(&'static str),
    /// The script is run by whoever rules the machine; what it starts (a job, a unit) makes the change.
    Machine,
}

/// Whether who made the change is still there when it is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It stays at least until the change is undone.
    Alive,
    /// It ends with the change, or nobody can say.
    Ends,
}

/// Where a way can be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    Anywhere,
    /// Containers cannot be nested in the laboratory's.
    MachineOnly,
}

/// Who made the change, as whoever staged it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truth {
    /// Who logged in, if anybody did.
    pub login: Option<&'static str>,
    /// As whom the program ran.
    pub user: &'static str,
    /// The program; several where a chain of them makes one change together, such as apt-get and its dpkg.
    pub programs: Vec<&'static str>,
}

/// A way of making a change, with a resource of its own.
#[derive(Clone, Debug)]
pub struct Way {
    pub name: &'static str,
    /// What is changed; of a file only a part: see [`Way::folder`].
    pub resource: String,
    pub start: Start,
    pub script: String,
    /// Run by whoever rules the machine before and after; neither makes a drift.
    pub before: String,
    pub after: String,
    pub life: Life,
    pub place: Where,
    /// Who owns the file, and who its folder.
    pub owner: &'static str,
    pub folder_owner: &'static str,
    /// Whether the file is declared absent.
    pub absent: bool,
    pub truth: Truth,
}

impl Way {
    /// A change of a file of the way's own, made by a person's script. `$F` is the file, `$D` its folder.
    pub fn file(name: &'static str, script: &str) -> Self {
        let mut way = Way::resource(name, "", script);
        way.resource = format!("file:{}", way.file_path());
        way
    }

    /// A change of another resource.
    pub fn resource(name: &'static str, resource: &str, script: &str) -> Self {
        Way {
            name,
            resource: resource.to_owned(),
            start: Start::Login("ada"),
            script: script.to_owned(),
            before: String::new(),
            after: String::new(),
            life: Life::Ends,
            place: Where::Anywhere,
            owner: "ada",
            folder_owner: "ada",
            absent: false,
            truth: Truth { login: Some("ada"), user: "ada", programs: Vec::new() },
        }
    }

    /// The program that makes the change.
    pub fn by(mut self, program: &'static str) -> Self {
        self.truth.programs.push(program);
        self
    }

    /// The user it runs as, where that is not who logged in.
    pub fn runs_as(mut self, user: &'static str) -> Self {
        self.truth.user = user;
        self
    }

    /// The file and its folder belong to somebody else.
    pub fn owned_by(mut self, owner: &'static str) -> Self {
        (self.owner, self.folder_owner) = (owner, owner);
        self
    }

    /// The folder belongs to yet somebody else.
    pub fn in_folder_of(mut self, owner: &'static str) -> Self {
        self.folder_owner = owner;
        self
    }

    /// Nobody's login: the machine itself begins it, and it runs as this user.
    pub fn by_machine(mut self, user: &'static str) -> Self {
        self.start = Start::Machine;
        self.truth = Truth { login: None, user, ..self.truth };
        self
    }

    /// Root logs in over ssh.
    pub fn by_root(mut self) -> Self {
        self.start = Start::Login("root");
        self.truth = Truth { login: Some("root"), user: "root", ..self.truth };
        self
    }

    /// Who asks the machine for it is logged in, but the machine does not pass that on.
    pub fn asked_by(mut self, person: &'static str) -> Self {
        self.start = Start::Login(person);
        self
    }

    /// What begins it counts as a login of this user, though nobody logs in: cron and at say so themselves.
    pub fn counts_as_login(mut self, login: &'static str) -> Self {
        self.truth.login = Some(login);
        self
    }

    pub fn before(mut self, script: &str) -> Self {
        self.before = script.to_owned();
        self
    }

    pub fn after(mut self, script: &str) -> Self {
        self.after = script.to_owned();
        self
    }

    pub fn alive(mut self) -> Self {
        self.life = Life::Alive;
        self
    }

    pub fn absent(mut self) -> Self {
        self.absent = true;
        self
    }

    pub fn machine_only(mut self) -> Self {
        self.place = Where::MachineOnly;
        self
    }

    /// The folder of a way that changes a file.
    pub fn folder(&self) -> String {
        let word: String =
            self.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        format!("/srv/held/{word}")
    }

    pub fn file_path(&self) -> String {
        format!("{}/file", self.folder())
    }

    /// Whether it changes a file that was laid for it.
    pub fn has_file(&self) -> bool {
        self.resource.starts_with("file:")
    }

    /// A script of this way's with its names in it.
    pub fn with_names(&self, script: &str) -> String {
        format!("export D={} F={}\n{script}", self.folder(), self.file_path())
    }
}
