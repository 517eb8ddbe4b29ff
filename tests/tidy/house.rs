//! The house as a table: the rooms of every package, and what each may use besides itself.
//!
//! A line is `room: what it may use`. A room stands below those that use it: what comes after the colon are rooms of
//! earlier lines, so the table can have no circle. A room is a folder or a file under the package's `src`; one inside
//! another (`wasm/abi`) has a line of its own where it may do other things than the room around it. Who may use a room
//! may use those inside it.

/// `(package, the folders of its sources, its rooms)`
pub const HOUSE: [(&str, &str, &str); 2] = [
    ("limpet-core", "core/src", CORE),
    ("limpet-host", "host/src", HOST),
];

/// `membership`, `replication`, `store` and `net` do not know each other. Nothing below `drivers` knows a socket, and
/// `drivers` alone carry bytes through `net`. A protocol in `api` encodes what `service` does and sees nothing behind it.
const CORE: &str = "
    base:
    session:      base
    membership:   base session
    replication:  base session
    store:        base session
    net:          base
    pki:          base net
    engine:       base session membership replication store
    drivers:      base session membership replication store engine net pki
    service:      base session membership replication engine drivers
    api:          base service
    config:       base session membership replication net pki engine drivers service api
    telemetry:    config
    status:       base
    daemon:       base session membership replication store net pki engine drivers service api config telemetry
    cli:          base config daemon pki status telemetry
    main:         cli
";

/// `message`, `client`, `telemetry` and `supervise` are the floor. `config` reads the file into types of those who use
/// them, and is itself used where parts are put together.
const HOST: &str = "
    message:
    client:
    telemetry:
    supervise:
    balance:      message
    route:        message
    upstream:     message client balance
    wasm/abi:
    wasm/plugin:
    wasm/stream:  wasm/abi message client
    wasm/shared:  wasm/abi telemetry
    wasm/state:   wasm/abi wasm/plugin wasm/stream wasm/shared message telemetry
    wasm/calls:   wasm/abi wasm/stream wasm/shared wasm/state message telemetry
    wasm/vm:      wasm/abi wasm/plugin wasm/stream wasm/shared wasm/state wasm/calls message telemetry
    wasm:
    rescue:       message upstream
    pipeline:     message client telemetry supervise balance route upstream wasm rescue
    server:       message client supervise wasm pipeline
    admin:        telemetry wasm
    config:       balance route upstream wasm
    proxy:        message client telemetry supervise balance route upstream wasm rescue pipeline server admin config
    cli:          supervise telemetry config proxy
    main:         cli
";

/// What every package may use of ours. `tests` uses all.
pub const PACKAGES: [(&str, &str, &[&str]); 6] = [
    ("limpet-wire", "core/wire", &[]),
    ("limpet-core", "core", &["limpet-wire"]),
    ("limpet-host", "host", &["limpet-wire"]),
    ("limpet-filters-common", "filters/common", &["limpet-wire"]),
    (
        "sticky-router",
        "filters/sticky-router",
        &["limpet-wire", "limpet-filters-common"],
    ),
    (
        "session-binder",
        "filters/session-binder",
        &["limpet-wire", "limpet-filters-common", "sticky-router"],
    ),
];

/// Folders and files that decide and do nothing else: what happened and the time come in, what there is to do goes out.
pub const PURE: [&str; 8] = [
    "core/src/session/",
    "core/src/membership/",
    "core/src/replication/",
    "core/src/store/",
    "core/src/engine/",
    "core/src/drivers/links/keeper/",
    "core/src/drivers/links/admission.rs",
    "host/src/message/",
];

/// One room and what it may use.
pub struct Room<'a> {
    pub name: &'a str,
    pub uses: Vec<&'a str>,
}

impl Room<'_> {
    /// Whether it may use the room called `used`.
    pub fn may_use(&self, used: &str) -> bool {
        let within = |room: &str| {
            used.strip_prefix(room)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        within(self.name) || self.uses.iter().any(|room| within(room))
    }
}

/// The rooms of a table.
pub fn rooms(table: &str) -> Vec<Room<'_>> {
    table
        .lines()
        .filter_map(|line| line.trim().split_once(':'))
        .map(|(name, uses)| Room {
            name,
            uses: uses.split_whitespace().collect(),
        })
        .collect()
}
