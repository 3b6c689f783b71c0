//! The list of all kinds of probe.

/// Hands the list of all kinds of probe to a macro: each one's name in a scenario file and in the journal, its module, its
/// variant of [`ProbeKind`](crate::scenario::ProbeKind) and its type.
///
/// The types of core and their behaviour in the engine are found by this list: a kind that lacks one of them does not compile.
#[macro_export]
macro_rules! with_probes {
    ($list:ident) => {
        $list! {
            "http" => http::Http(HttpProbe);
            "jetstream" => jetstream::Jetstream(JetstreamProbe);
            "postgres" => postgres::Postgres(PostgresProbe);
            "ironflow" => ironflow::Ironflow(IronflowProbe);
            "tcp" => tcp::Tcp(TcpProbe);
        }
    };
}
