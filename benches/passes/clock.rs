//! Times, and what the kernel says of this process.

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

/// Times of the same thing, over and over.
#[derive(Debug, Default)]
pub struct Times(Vec<Duration>);

impl Times {
    pub fn push(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// Does something and notes how long it took.
    pub fn of<T>(&mut self, act: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = act();
        self.push(began.elapsed());
        done
    }

    /// In milliseconds.
    pub fn median(&self) -> f64 {
        self.at(0.5)
    }

    pub fn p99(&self) -> f64 {
        self.at(0.99)
    }

    fn at(&self, share: f64) -> f64 {
        let mut times = self.0.clone();
        times.sort();
        times[((times.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1000.0
    }
}

/// CPU time of this process so far, all threads, in milliseconds.
pub fn cpu() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let millis = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 * 1e3 + time.tv_usec() as f64 / 1e3;
    millis(usage.user_time()) + millis(usage.system_time())
}

/// From now on `peak` counts anew.
pub fn forget_peak() {
    // proc_pid_clear_refs(5)
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

/// The largest this process was, in MiB.
pub fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
}
