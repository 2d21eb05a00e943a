//! One commit's signature: whether it is one, over these bytes, by a key that is listed and good now.

use super::certificate::Certificate;
use super::clock::Clock;
use super::commit::Commit;
use super::key::BadSignature;
use super::policy::{Format, Listed, Policy, Signer};
use super::refusal::Refusal;
use super::signers::{Role, SignerLine, Signers};
use super::sshsig::{self, Holder, SigFault, SshSig};

/// What git signs for.
const NAMESPACE: &str = "git";

/// Who signed a commit, by the local signers and the list that governs it.
pub(super) fn signer(
    policy: &Policy,
    clock: Clock,
    id: &str,
    commit: &Commit,
    governing: Option<&Signers>,
) -> Result<Signer, Refusal> {
    let signature = read(id, commit)?;
    if signature.namespace != NAMESPACE {
        let namespace = signature.namespace.escape_debug().to_string();
        return Err(Refusal::Namespace { commit: id.into(), namespace });
    }
    signature.verify(&commit.payload).map_err(|fault| bad(id, fault))?;
    let claim = Claim { policy, clock, commit: id, holder: &signature.holder };
    claim.not_revoked()?;
    claim.listed(governing)
}

/// The one signature of a commit.
fn read(id: &str, commit: &Commit) -> Result<SshSig, Refusal> {
    if commit.has_other_hash {
        return Err(Refusal::OtherHashSignature(id.into()));
    }
    let text = match commit.signatures.as_slice() {
        [] => return Err(Refusal::Unsigned(id.into())),
        [one] => one,
        _ => return Err(Refusal::SeveralSignatures(id.into())),
    };
    let format = |format| Refusal::Format { commit: id.into(), format };
    if text.starts_with("-----BEGIN PGP ") {
        return Err(format("OpenPGP"));
    }
    if text.starts_with("-----BEGIN SIGNED MESSAGE-----") {
        return Err(format("X.509"));
    }
    if !text.starts_with(sshsig::BEGIN) {
        return Err(Refusal::SignatureMalformed { commit: id.into(), why: "no known armour".into() });
    }
    SshSig::from_armour(text).map_err(|fault| match fault {
        SigFault::Malformed(why) => Refusal::SignatureMalformed { commit: id.into(), why: why.into() },
        SigFault::Key(super::key::KeyFault::Malformed) => {
            Refusal::SignatureMalformed { commit: id.into(), why: "its key is none".into() }
        }
        SigFault::Key(fault) => Refusal::Algorithm { commit: id.into(), why: fault.to_string() },
        SigFault::Hash(name) => {
            Refusal::Algorithm { commit: id.into(), why: format!("it is hashed by `{name}`") }
        }
    })
}

fn bad(id: &str, fault: BadSignature) -> Refusal {
    match fault {
        BadSignature::Wrong => Refusal::BadSignature(id.into()),
        BadSignature::NoTouch => Refusal::NoTouch(id.into()),
        BadSignature::Malformed => {
            Refusal::SignatureMalformed { commit: id.into(), why: "its numbers are not whole".into() }
        }
        BadSignature::Algorithm => Refusal::Algorithm {
            commit: id.into(),
            why: "its algorithm is not that of its key, or is SHA-1".into(),
        },
    }
}

/// A good signature, whose key still has to be let in.
struct Claim<'a> {
    policy: &'a Policy,
    clock: Clock,
    commit: &'a str,
    holder: &'a Holder,
}

impl Claim<'_> {
    fn fingerprint(&self) -> String {
        self.holder.key().fingerprint()
    }

    fn not_revoked(&self) -> Result<(), Refusal> {
        let authority = match self.holder {
            Holder::Key(_) => None,
            Holder::Certificate(certificate) => Some(certificate.authority.fingerprint()),
        };
        for fingerprint in std::iter::once(self.fingerprint()).chain(authority) {
            if self.policy.revoked.holds(&fingerprint) {
                return Err(Refusal::Revoked { commit: self.commit.into(), fingerprint });
            }
        }
        Ok(())
    }

    /// The local lines of a key decide alone: the repository's list can't loosen what they say.
    fn listed(&self, governing: Option<&Signers>) -> Result<Signer, Refusal> {
        let lists = [(Some(&self.policy.signers), Listed::Local), (governing, Listed::Repository)];
        for (signers, listed) in lists {
            let Some(signers) = signers else { continue };
            let mut refused = None;
            for line in self.lines(signers) {
                match self.let_in(line) {
                    Ok(format) => return Ok(self.signer(line, format, listed)),
                    Err(refusal) => refused = refused.or(Some(refusal)),
                }
            }
            if let Some(refusal) = refused {
                return Err(refusal);
            }
        }
        Err(Refusal::UnknownSigner { commit: self.commit.into(), fingerprint: self.fingerprint() })
    }

    /// The lines that speak of the key, or of the authority that vouches for it.
    fn lines<'s>(&'s self, signers: &'s Signers) -> impl Iterator<Item = &'s SignerLine> {
        match self.holder {
            Holder::Key(key) => signers.of(key, Role::Signer),
            Holder::Certificate(certificate) => signers.of(&certificate.authority, Role::Authority),
        }
    }

    fn signer(&self, line: &SignerLine, format: Format, listed: Listed) -> Signer {
        Signer { principals: line.principals.clone(), fingerprint: self.fingerprint(), format, listed }
    }

    fn let_in(&self, line: &SignerLine) -> Result<Format, Refusal> {
        let (commit, fingerprint) = (self.commit.to_owned(), self.fingerprint());
        let identities = &self.policy.identities;
        if !identities.is_empty() && !identities.iter().any(|identity| line.is_for(identity)) {
            let principals = line.principals.escape_debug().to_string();
            return Err(Refusal::Principal { commit, fingerprint, principals });
        }
        let format = match self.holder {
            Holder::Key(_) => Format::Ssh,
            Holder::Certificate(certificate) => {
                self.certified(line, certificate)?;
                Format::SshCertificate
            }
        };
        if !line.covers(NAMESPACE) {
            return Err(Refusal::NotForGit { commit, fingerprint });
        }
        if line.valid_after.is_some_and(|after| self.clock.at < after) {
            return Err(Refusal::NotYetValid { commit, fingerprint });
        }
        match line.valid_before {
            Some(before) if self.clock.at > before => Err(Refusal::Expired { commit, fingerprint }),
            Some(_) if !self.clock.is_sure => Err(Refusal::ClockBehind { commit, fingerprint }),
            Some(_) | None => Ok(format),
        }
    }

    fn certified(&self, line: &SignerLine, certificate: &Certificate) -> Result<(), Refusal> {
        let commit = || self.commit.to_owned();
        let refused = |why: String| Err(Refusal::Certificate { commit: commit(), why });
        if !certificate.is_user {
            return refused("it is for a host".into());
        }
        if let Some(option) = certificate.critical.first() {
            return refused(format!("it has the critical option `{}`", option.escape_debug()));
        }
        let identities = &self.policy.identities;
        let is_wanted = |name: &String| identities.is_empty() || identities.contains(name);
        if !certificate.principals.iter().any(|name| is_wanted(name) && line.is_for(name)) {
            return refused("it names nobody whom its authority may name".into());
        }
        let at = self.clock.at.unsigned_abs();
        if at < certificate.valid_after {
            return Err(Refusal::NotYetValid { commit: commit(), fingerprint: self.fingerprint() });
        }
        if at >= certificate.valid_before {
            return Err(Refusal::Expired { commit: commit(), fingerprint: self.fingerprint() });
        }
        if certificate.valid_before != u64::MAX && !self.clock.is_sure {
            return Err(Refusal::ClockBehind { commit: commit(), fingerprint: self.fingerprint() });
        }
        Ok(())
    }
}
