//! The texts of `--help` and `--version`, and what a mistyped word might have meant.
//!
//! In: the table of settings. Out: text. Never: writes it anywhere.

use std::fmt::Write;

use super::table::SETTINGS;

/// Which `--help` was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Topic {
    Node,
    Import,
    Keygen,
    Check,
    Backup,
    AdoptCluster,
    Export,
    Put,
    Get,
    Query,
    Status,
    Demo,
}

pub(super) const VERSION: &str = concat!("stemedb-edge ", env!("CARGO_PKG_VERSION"), "\n");

const HEAD: &str = "\
A StemeDB node for small machines: signed assertions, an append-only log, Merkle sync over gRPC.

Usage:
  stemedb-edge [serve] [SETTINGS]   run a node
  stemedb-edge import FILE|-        send assertions, one JSON body a line, to a running node
  stemedb-edge export [FROM]        write every assertion as a line that import takes
  stemedb-edge keygen FILE          make a signing key
  stemedb-edge check DIR            verify a data directory, beside a running node too
  stemedb-edge backup DIR TARGET    copy a data directory, beside a running node too
  stemedb-edge adopt-cluster DIR ID a stopped node joins another cluster
  stemedb-edge put S P VALUE|-      one claim to a running node
  stemedb-edge get HASH             one assertion of a running node
  stemedb-edge query [PARAMETERS]   what is claimed, and which claim a lens prefers
  stemedb-edge status [HOST:PORT]   members, shards and roots, as a node sees them
  stemedb-edge demo                 three nodes on this machine, to look at

Options:
  -h, --help            this text; after a command, the command's own
  -V, --version         the version
      --print-settings  show each setting, its value and its origin, and exit

Settings (a flag wins over its variable, which wins over the default):
";

const TAIL: &str = "
  Each flag has a variable: --data-dir is STEMEDB_DATA_DIR. Durations are 250ms, 1s, 2m, 1h; bytes
  are 67108864 or 64M. docs/configuration.md says more of each.

Examples:
  stemedb-edge
  stemedb-edge --data-dir /var/lib/stemedb --bind-addr 0.0.0.0:18180 --seeds node1:18182
  STEMEDB_DURABILITY=batched stemedb-edge --max-log-bytes 2G
  stemedb-edge keygen agent.key && stemedb-edge import claims.ndjson --key agent.key

Exit codes: 0 all went well, 1 it did not (see the last line), 2 the command line is wrong,
74 a write or an fsync failed (a restart recovers).
";

const IMPORT: &str = "\
Sends assertions to a running node: one JSON body of POST /v1/assert a line, up to 1,024 of them in
a request of POST /v1/assert/batch.

Usage:
  stemedb-edge import FILE|- [OPTIONS]

  FILE                  the lines; - is the standard input. Empty lines are skipped

Options:
  --to http://HOST:PORT the node's HTTP API                  [http://127.0.0.1:18180]
  --key FILE            sign each claim with this key (see keygen); a claim without
                        a timestamp gets the present one
  --concurrency COUNT   requests in flight, 1 to 128         [8]
  --rejects FILE        a new file that gets the lines that were refused, as they were
  --api-key-file FILE   the key that the node asks for       [STEMEDB_ROOT_API_KEY or ..._FILE]
  -h, --help            this text

A refused line does not stop the rest: it is named on standard error with its reason, and the end
says how many were refused, why, and their first line numbers. A line of more than 1.25 MiB is
refused and is in no FILE of --rejects. While the node is busy (429, 503) lines wait and are sent
again; a full disk (507) or a node that stays out of reach ends the import. A line sent twice makes
no duplicate if it carries a timestamp.

Examples:
  stemedb-edge import claims.ndjson
  zcat claims.gz | stemedb-edge import - --to http://node1:18180 --key agent.key
  stemedb-edge import claims.ndjson --rejects refused.ndjson 2>reasons.txt

Exit codes: 0 every line is in, 1 some were refused, 2 the command line or the key is wrong,
3 the node is out of reach or full, 130 interrupted.
";

const KEYGEN: &str = "\
Makes an Ed25519 signing key and prints the agent id that belongs to it.

Usage:
  stemedb-edge keygen FILE

  FILE  gets the 32-byte seed as hex, readable by its owner alone; never overwritten

Example:
  stemedb-edge keygen agent.key
";

const CHECK: &str = "\
Verifies a data directory: every record's checksum and hash. Changes nothing and works beside a
running node.

Usage:
  stemedb-edge check DIR

  DIR  the data directory of a node

Exit codes: 0 every record is what was written, or is damaged and here once more, 1 something is
damaged (each position is listed, with its record where that is known), 2 it cannot be read or the
command line is wrong.
";

const BACKUP: &str = "\
Copies a data directory, of a running node too. To restore is to start a node on the copy.

Usage:
  stemedb-edge backup DIR TARGET

  DIR     the data directory of a node; nothing in it is changed
  TARGET  the copy: a directory that is made, or is empty

Closed segments of the log become hard links where both are on one file system: the copy is quick
and takes no space, and it shares the fate of that disk. Elsewhere they are copied. The open segment
is copied up to its last whole record.

The node id is not copied, as two live nodes must not share one: a node started on the copy is a new
member of its cluster. To replace the old one it needs the old id (--node-id), which is shown.

Examples:
  stemedb-edge backup /var/lib/stemedb /mnt/usb/stemedb-monday
  stemedb-edge check /mnt/usb/stemedb-monday

Exit codes: 0 the copy is whole and durable, 1 there is none, or it is as damaged as its original,
2 the command line is wrong.
";

const ADOPT_CLUSTER: &str = "\
Has the data directory of a stopped node belong to another cluster: with its next start the node is
a member there, and all that it holds becomes part of that cluster. To merge two clusters, do this
with each node of one of them.

Usage:
  stemedb-edge adopt-cluster DIR ID

  DIR  the data directory of a node that does not run
  ID   the cluster id, as /v1/health of a node there shows it: 32 hex digits or a UUID

Example:
  stemedb-edge adopt-cluster /var/lib/stemedb 00112233445566778899aabbccddeeff

Exit codes: 0 it belongs to that cluster, 1 nothing was changed, 2 the command line is wrong.
";

const EXPORT: &str = "\
Writes every assertion to standard output, a line of JSON each, that import takes back to the same
hash: each line is a body of POST /v1/assert and names its hash.

Usage:
  stemedb-edge export [http://HOST:PORT|DIR] [OPTIONS]

  HOST:PORT             a running node's HTTP API            [127.0.0.1:18180]
  DIR                   a data directory, in use or not; if its name looks like HOST:PORT, ./DIR

Options:
  --api-key-file FILE   the key that the node asks for       [STEMEDB_ROOT_API_KEY or ..._FILE]
  -h, --help            this text

What comes in while the export runs may be missing. Assertions in another node's layout are lines
with their bytes in hex.

Examples:
  stemedb-edge export > claims.ndjson
  stemedb-edge export /var/lib/stemedb | stemedb-edge import - --to http://node2:18180

Exit codes: 0 all is out, 1 not all of it (damage, a line too long for import, a full disk),
2 the command line is wrong or the directory cannot be read, 3 the node does not answer.
";

const PUT: &str = "\
Puts one claim into a running node, and prints its hash and whether it was created or exists.

Usage:
  stemedb-edge put SUBJECT PREDICATE VALUE [OPTIONS]
  stemedb-edge put - [OPTIONS]

  -                     a body of POST /v1/assert on the standard input

Options:
  --to http://HOST:PORT the node's HTTP API or gateway       [http://127.0.0.1:18180]
  --type TYPE           text, number, boolean or reference   [text]
  --confidence NUMBER   0 to 1                               [1]
  --source-class NAME   Regulatory, Clinical, Observational, Expert, Community, Anecdotal  [Expert]
  --lifecycle NAME      Proposed, UnderReview, Approved, Deprecated, Rejected  [Proposed]
  --timestamp SECONDS   when it was so, since 1970           [the node's clock]
  --expires SECONDS     until when it is so                  [for ever]
  --parent-hash HASH    the claim that it takes the place of
  --source-hash HASH, --epoch HASH, --visual-hash DIGITS
  --key FILE            sign it with this key (see keygen); without a timestamp it gets the present
  --api-key-file FILE   the key that the node asks for       [STEMEDB_ROOT_API_KEY or ..._FILE]
  -h, --help            this text

A value that begins with - comes after --. A claim with a timestamp may be put again and is no other
one.

Examples:
  stemedb-edge put Moon made_of rock
  stemedb-edge put --type number --key agent.key attic temperature -- -3.5

Exit codes: 0 it is stored, 1 the node refuses it, 2 the command line or the key is wrong,
3 the node does not answer.
";

const GET: &str = "\
Prints one assertion as JSON.

Usage:
  stemedb-edge get HASH [OPTIONS]

Options:
  --to http://HOST:PORT the node's HTTP API or gateway       [http://127.0.0.1:18180]
  --api-key-file FILE   the key that the node asks for       [STEMEDB_ROOT_API_KEY or ..._FILE]
  -h, --help            this text

Exit codes: 0 it is printed, 1 the node has none of this hash, 2 the command line is wrong,
3 the node does not answer.
";

const QUERY: &str = "\
Prints one page of GET /v1/query as JSON.

Usage:
  stemedb-edge query [PARAMETERS] [OPTIONS]

Parameters, as docs/http.md has them, with - in place of _:
  --subject NAME        --predicate NAME        --lifecycle NAMES       --source-class CLASS
  --lens LENS           recency, hlc, confidence, consensus, authority, votes or trust; needs
                        subject and predicate
  --as-of SECONDS       --half-life SECONDS     --voices agents|claims  --history true|false
  --limit COUNT         --cursor CURSOR         each other one that the node has

Options:
  --to http://HOST:PORT the node's HTTP API or gateway       [http://127.0.0.1:18180]
  --api-key-file FILE   the key that the node asks for       [STEMEDB_ROOT_API_KEY or ..._FILE]
  -h, --help            this text

Example:
  stemedb-edge query --subject Moon --predicate made_of --lens consensus

Exit codes: 0 it is printed, 1 the node refuses the query, 2 the command line is wrong,
3 the node does not answer.
";

const STATUS: &str = "\
Shows the cluster as a node sees it: members, what each holds, and for how many shards gateways
write to it and ask it. Every node holds the whole set.

Usage:
  stemedb-edge status [HOST:PORT] [OPTIONS]

  HOST:PORT             the node's HTTP API or gateway       [127.0.0.1:18180]

Options:
  --json                an object for programs in place of the table
  --ready               whether this node is ready, as /v1/health/ready says, and nothing else
  --api-key-file FILE   the key that the nodes ask for       [STEMEDB_ROOT_API_KEY or ..._FILE]
  -h, --help            this text

Members are asked for their roots one by one; equal roots are equal sets.

Exit codes: 0 it answered and all is well, 1 it did not answer, or a node is damaged, takes no
claims, shares its id with another or has not joined (with --ready: it is not ready), 2 the command
line is wrong.
";

const DEMO: &str = "\
Starts three nodes on free ports of this machine, puts sample claims in, kills one node and brings
it back, and prints what happens until Ctrl-C. Nothing is left behind.

Usage:
  stemedb-edge demo
";

/// The help text of a topic.
pub(super) fn text(topic: Topic) -> String {
    match topic {
        Topic::Node => node_text(),
        Topic::Import => IMPORT.to_string(),
        Topic::Keygen => KEYGEN.to_string(),
        Topic::Check => CHECK.to_string(),
        Topic::Backup => BACKUP.to_string(),
        Topic::AdoptCluster => ADOPT_CLUSTER.to_string(),
        Topic::Export => EXPORT.to_string(),
        Topic::Put => PUT.to_string(),
        Topic::Get => GET.to_string(),
        Topic::Query => QUERY.to_string(),
        Topic::Status => STATUS.to_string(),
        Topic::Demo => DEMO.to_string(),
    }
}

fn node_text() -> String {
    let mut text = HEAD.to_string();
    for setting in &SETTINGS {
        let flag = format!("--{} {}", setting.flag(), setting.shape);
        writeln!(text, "  {flag:40} {} [{}]", setting.meaning, setting.default)
            .expect("writing to a String cannot fail");
    }
    text + TAIL
}

/// The candidate that `word` was probably meant to be.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|&(distance, _)| distance <= allowed)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's edit distance, to suggest the flag that was meant.
fn distance(one: &str, two: &str) -> usize {
    let two: Vec<char> = two.chars().collect();
    let mut row: Vec<usize> = (0..=two.len()).collect();
    for (column, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], column + 1);
        for (column, &other) in two.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[two.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_fits_the_screen_and_names_every_setting() {
        use Topic::*;
        let commands = [Import, Keygen, Check, Backup, AdoptCluster, Export, Status, Demo];
        let topics = [Node, Put, Get, Query].into_iter().chain(commands);
        for line in topics.map(text).collect::<String>().lines() {
            assert!(line.len() <= 100, "{line}");
        }
        let node = text(Topic::Node);
        for setting in &SETTINGS {
            assert!(node.contains(&format!("--{} ", setting.flag())), "{}", setting.variable);
        }
    }

    #[test]
    fn typing_mistakes_find_their_word_and_nonsense_finds_none() {
        let words = || ["data-dir", "bind-addr", "seeds", "import"].into_iter();
        assert_eq!(nearest("seed", words()), Some("seeds"));
        assert_eq!(nearest("datadir", words()), Some("data-dir"));
        assert_eq!(nearest("imprt", words()), Some("import"));
        assert_eq!(nearest("x", words()), None);
        assert_eq!(nearest("frobnicate", words()), None);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
