//! The judge from outside: its tracker against an oracle, its verdicts on journals built by hand.

mod alerts;
mod builder;
mod data;
mod measured;
mod outage;
mod simulated;
mod steps;
mod suites;
mod unattended;
mod verdicts;
