//! Golden bytes: one fixture of every encoding of this crate, so that no change of the code changes the wire.
//!
//! A fixture that no longer matches means that filters and daemons of two builds would misread each other: a new
//! [`codec::FORMAT`], or a mistake. Round trips and hostile input are the unit tests' business.

use limpet_wire::codec::{self, decode, encode};
use limpet_wire::placement;
use limpet_wire::report::{IdleLimit, Operation, Reply, Report};
use limpet_wire::table::{TableVersion, Worker, WorkerStatus, WorkerTable};
use limpet_wire::token::{self, Claims, NONCE_LEN, TokenKey};

const TABLE: &str = "\
    020473686f70fd0068e5cf8b010000fb2c0101fc040302015a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a\
    5a5a5a5a5a5a0502723114687474703a2f2f31302e302e302e313a383038300d31302e302e302e313a383038306400056e6f\
    64653102723214687474703a2f2f31302e302e302e323a383038300d31302e302e302e323a38303830c801056e6f64653202\
    723314687474703a2f2f31302e302e302e333a383038300d31302e302e302e333a38303830fb2c0102056e6f646533027234\
    14687474703a2f2f31302e302e302e343a383038300d31302e302e302e343a38303830fb900103056e6f6465340272351468\
    7474703a2f2f31302e302e302e353a383038300d31302e302e302e353a38303830fbf40104056e6f646535";
const REPORT: &str = "\
    02030764656661756c740361626301027231010104636172740200ff01036f6c640101fc40771b000001fd0068e5cf8b0100\
    0000036465660000000001000000000367686900000000000100";
const REPLY: &str = "0203010109746f6f206c61726765";
const CLAIMS: &str = "020764656661756c7402723102027232027233fc00f15365fc3cf15365";
const TOKEN: &str =
    "AQQDAgGlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaW3itbSrIm2vwremA6-n_dVDCMybzOEP6oXZTIc1rOc_4Om74cpiyWD290zFPE";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key() -> TokenKey {
    TokenKey {
        id: 0x0102_0304,
        secret: [0x5a; 32],
    }
}

fn table() -> WorkerTable {
    let statuses = [
        WorkerStatus::Up,
        WorkerStatus::Draining,
        WorkerStatus::Disabled,
        WorkerStatus::Down,
        WorkerStatus::NotReady,
    ];
    let workers = (1..).zip(statuses).map(|(n, status)| Worker {
        route: format!("r{n}"),
        url: format!("http://10.0.0.{n}:8080"),
        addr: format!("10.0.0.{n}:8080"),
        weight: n * 100,
        status,
        node: format!("node{n}"),
    });
    WorkerTable {
        cluster: "shop".into(),
        version: TableVersion {
            epoch: 1_700_000_000_000,
            number: 300,
        },
        keys: vec![key()],
        workers: workers.collect(),
    }
}

fn report() -> Report {
    Report {
        operations: vec![
            Operation {
                app: "default".into(),
                id: "abc".into(),
                route: Some("r1".into()),
                touch: true,
                set: vec![("cart".into(), b"\x00\xff".to_vec())],
                remove: vec!["old".into()],
                max_inactive: Some(IdleLimit::Millis(1_800_000)),
                invalidate: false,
                began_ms: Some(1_700_000_000_000),
            },
            Operation {
                id: "def".into(),
                max_inactive: Some(IdleLimit::Forever),
                ..Operation::default()
            },
            Operation {
                id: "ghi".into(),
                invalidate: true,
                ..Operation::default()
            },
        ],
    }
}

fn claims() -> Claims {
    Claims {
        app: "default".into(),
        route: "r1".into(),
        fallbacks: vec!["r2".into(), "r3".into()],
        first_seen: 1_700_000_000,
        last_seen: 1_700_000_060,
    }
}

#[test]
fn the_worker_table() {
    assert_eq!(hex(&encode(&table()).unwrap()), TABLE);
    assert_eq!(decode(&encode(&table()).unwrap()), Ok(table()));
    assert_eq!(table().version.to_string(), "1700000000000.300");
}

#[test]
fn the_report_and_its_reply() {
    assert_eq!(hex(&encode(&report()).unwrap()), REPORT);
    let reply = Reply {
        copies: 3,
        refused: vec![(1, "too large".into())],
    };
    assert_eq!(hex(&encode(&reply).unwrap()), REPLY);
}

#[test]
fn the_token() {
    assert_eq!(hex(&encode(&claims()).unwrap()), CLAIMS);
    let text = token::seal(&claims(), "shop", &key(), [0xa5; NONCE_LEN]).unwrap();
    assert_eq!(text, TOKEN);
    assert_eq!(token::open(TOKEN.as_bytes(), "shop", &[key()]), Ok(claims()));
}

#[test]
fn the_placement() {
    let scores = ["node1", "node2", "node3"].map(|node| placement::score(node, "default", "abc"));
    assert_eq!(
        scores,
        [
            13_248_590_095_542_367_764,
            3_475_549_870_032_929_455,
            4_543_447_673_587_184_772
        ]
    );
}

#[test]
fn the_limits_both_sides_enforce() {
    assert_eq!((codec::FORMAT, codec::MESSAGE_MAX), (2, 4_194_304));
    assert_eq!((token::TOKEN_MAX, token::FALLBACKS_MAX, NONCE_LEN), (1024, 3, 24));
}
