//! `stemedb-edge status`: the cluster as one node sees it, as a table or as JSON.
//!
//! In: a node's address. Out: its members with what each says it holds, and the shards by owner.
//! Never: hides that a member does not answer.

pub mod json;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;

use async_executor::LocalExecutor;
use nanoserde::{DeJson, SerJson};

use crate::base::Secret;
use crate::commands::client::{self, ApiError};
use crate::commands::output;
use crate::config::{StatusForm, StatusOptions};
use crate::shell::runtime::reactor;
use crate::shell::runtime::secrets;
use crate::wire::foreign;
use json::{Gossip, StatusBody, StatusMember, Sync};

/// What `GET /v1/cluster/status` answers.
#[derive(DeJson)]
pub struct Cluster {
    /// The node that answers.
    pub node_id: String,
    #[nserde(default)]
    cluster_id: String,
    /// All members, itself included.
    pub members: Vec<Member>,
    shards: u32,
    replication_factor: u32,
    shard_moves: u64,
    gossip: Gossip,
    syncs: Vec<Sync>,
}

/// A member as the answering node knows it.
#[derive(DeJson)]
pub struct Member {
    /// The member's id, in hex.
    pub node_id: String,
    /// `Alive`, `Suspect`, `Dead` or `Left`.
    pub state: String,
    #[nserde(default = "true")]
    reachable: bool,
    rpc_addr: String,
    api_addr: String,
}

/// What `GET /v1/health` answers.
#[derive(DeJson)]
pub struct Health {
    /// How many assertions the node holds.
    pub assertions_count: u64,
    /// The Merkle root; equal roots mean equal sets.
    pub merkle_root: String,
    version: String,
    #[nserde(default)]
    damaged_count: u64,
    #[nserde(default)]
    writes: String,
    #[nserde(default)]
    duplicate_node_id: String,
    #[nserde(default = "true")]
    joined: bool,
}

impl Health {
    /// What is wrong with the node, in words.
    fn troubles(&self) -> Vec<String> {
        let damaged = self.damaged_count;
        let damage =
            (damaged > 0).then(|| format!("its log is DAMAGED: {damaged} records or heads"));
        let writes = match &*self.writes {
            "" | "ok" => None,
            "read_only" => Some("its disk is READ-ONLY, it takes no claims".to_owned()),
            "disk_budget" => {
                Some("its log has reached STEMEDB_MAX_LOG_BYTES, it takes no claims".to_owned())
            }
            "disk_full" => Some("its disk is FULL, it takes no claims".to_owned()),
            other => Some(format!("it takes no claims: {other}")),
        };
        let duplicate = (!self.duplicate_node_id.is_empty()).then(|| {
            let at = foreign::shown(&self.duplicate_node_id);
            format!("DUPLICATE node id: another live node, at {at}, has it as well")
        });
        let alone =
            (!self.joined).then(|| "it has NOT JOINED: it reached none of its seeds".to_owned());
        damage.into_iter().chain(writes).chain(duplicate).chain(alone).collect()
    }
}

#[derive(DeJson)]
struct Ranges {
    ranges: Vec<Range>,
}

#[derive(DeJson)]
struct Range {
    replicas: Vec<String>,
}

/// Digits of an id or a root that a table shows.
const SHOWN: usize = 12;

#[derive(DeJson)]
struct ReadyBody {
    status: String,
}

/// Asks one node for the cluster and each member for its health, and prints what they say.
pub fn run(options: &StatusOptions) -> ExitCode {
    let key = options.of.api_key.as_ref();
    let key = key.map(|key| secrets::load(key, "STEMEDB_ROOT_API_KEY")).transpose();
    let shown = key.map_err(|error| error.to_string()).and_then(|key| {
        let reactor = reactor::current().map_err(|error| error.to_string())?;
        let at = options.of.at.to_string();
        let looking = look(&at, key.as_ref(), options.form);
        let looked = reactor.block_on(&LocalExecutor::new(), looking);
        looked.map_err(|error| error.to_string())
    });
    match shown {
        Ok((text, is_well)) => output::print(&text, u8::from(!is_well)),
        Err(why) => output::fail(&format!("{}: {why}", options.of.at), 1),
    }
}

/// What is to be printed, and whether nothing is wrong with the nodes that answer.
async fn look(
    at: &str,
    key: Option<&Secret>,
    form: StatusForm,
) -> Result<(String, bool), ApiError> {
    if form == StatusForm::Ready {
        let path = "/v1/health/ready";
        let text = client::get_text(at, path, key).await?;
        let ready = ReadyBody::deserialize_json(&text)
            .map_err(|error| ApiError::OtherShape(path.to_owned(), error.to_string()))?;
        return Ok((text + "\n", ready.status == "ready"));
    }
    let cluster: Cluster = client::get(at, "/v1/cluster/status", key).await?;
    let ranges: Ranges = client::get(at, "/v1/admin/ranges", key).await?;
    let mut rows = Vec::new();
    for member in &cluster.members {
        // The node itself is asked where it answered; it may advertise another address.
        let is_it = member.node_id == cluster.node_id;
        let address = if is_it { at } else { &member.api_addr };
        let is_there = is_it || member.state == "Alive" || member.state == "Suspect";
        // Health asks for no key, and a member may be a stranger: the key is for the node asked.
        let key = key.filter(|_| is_it);
        let health = match is_there {
            true => Some(client::get::<Health>(address, "/v1/health", key).await),
            false => None,
        };
        rows.push((member, health));
    }
    let is_well = answers(&rows).all(|(_, health)| health.troubles().is_empty());
    let held = held(&ranges);
    let text = match form {
        StatusForm::Json => object(&cluster, &held, &rows),
        StatusForm::Table | StatusForm::Ready => table(&cluster, &held, &rows),
    };
    Ok((text, is_well))
}

/// For how many shards each node is the first owner, and for how many any.
type Held<'a> = BTreeMap<&'a str, (u64, u64)>;

fn held(ranges: &Ranges) -> Held<'_> {
    let mut held = Held::new();
    for range in &ranges.ranges {
        for (index, node) in range.replicas.iter().enumerate() {
            let (first, all) = held.entry(node).or_default();
            *first += u64::from(index == 0);
            *all += 1;
        }
    }
    held
}

/// A member and its health; `None` if it was not asked, since it is gone.
type MemberRow<'a> = (&'a Member, Option<Result<Health, ApiError>>);

/// The members that answered.
fn answers<'a>(rows: &'a [MemberRow<'_>]) -> impl Iterator<Item = (&'a Member, &'a Health)> {
    rows.iter().filter_map(|(member, health)| Some((*member, health.as_ref()?.as_ref().ok()?)))
}

/// The object of `--json`, in one line.
fn object(cluster: &Cluster, held: &Held<'_>, rows: &[MemberRow<'_>]) -> String {
    let mut roots: Vec<&str> = answers(rows).map(|(_, health)| &*health.merkle_root).collect();
    let is_compared = roots.len() > 1;
    roots.dedup();
    let cluster_id = foreign::shown(&cluster.cluster_id);
    let body = StatusBody {
        node_id: foreign::shown(&cluster.node_id),
        cluster_id: (!cluster_id.is_empty()).then_some(cluster_id),
        is_well: answers(rows).all(|(_, health)| health.troubles().is_empty()),
        are_roots_equal: is_compared.then_some(roots.len() < 2),
        shards: cluster.shards,
        replication_factor: cluster.replication_factor,
        shard_moves: cluster.shard_moves,
        members: rows.iter().map(|row| status_member(row, held)).collect(),
        gossip: cluster.gossip.clone(),
        syncs: cluster.syncs.iter().map(shown_sync).collect(),
    };
    body.serialize_json() + "\n"
}

fn status_member((member, health): &MemberRow<'_>, held: &Held<'_>) -> StatusMember {
    let (shards, replicas) = held.get(&*member.node_id).copied().unwrap_or_default();
    let answer = health.as_ref().and_then(|answer| answer.as_ref().ok());
    let error = health.as_ref().and_then(|answer| answer.as_ref().err());
    StatusMember {
        node_id: foreign::shown(&member.node_id),
        state: foreign::shown(&member.state),
        reachable: member.reachable,
        rpc_addr: foreign::shown(&member.rpc_addr),
        api_addr: foreign::shown(&member.api_addr),
        shards,
        replicas,
        version: answer.map(|health| foreign::shown(&health.version)),
        assertions_count: answer.map(|health| health.assertions_count),
        merkle_root: answer.map(|health| foreign::shown(&health.merkle_root)),
        troubles: answer.map(|health| health.troubles()).unwrap_or_default(),
        error: error.map(|error| foreign::shown(&error.to_string())),
    }
}

fn shown_sync(sync: &Sync) -> Sync {
    let (node_id, phase) = (foreign::shown(&sync.node_id), foreign::shown(&sync.phase));
    Sync { node_id, phase, ..*sync }
}

fn table(cluster: &Cluster, held: &Held<'_>, rows: &[MemberRow<'_>]) -> String {
    let mut lines = vec![
        ["node", "state", "rpc", "api", "version", "shards", "replicas", "assertions", "root"]
            .map(str::to_owned),
    ];
    for (member, health) in rows {
        let (first, all) = held.get(&*member.node_id).copied().unwrap_or_default();
        let mark = if member.node_id == cluster.node_id { "*" } else { "" };
        let (version, count, root) = match health {
            Some(Ok(it)) => (&*it.version, it.assertions_count.to_string(), cut(&it.merkle_root)),
            _ => ("-", "-".to_owned(), "-"),
        };
        lines.push([
            format!("{}{mark}", cut(&member.node_id)),
            format!("{}{}", member.state, if member.reachable { "" } else { ", not reachable" }),
            member.rpc_addr.clone(),
            member.api_addr.clone(),
            version.to_owned(),
            first.to_string(),
            all.to_string(),
            count,
            root.to_owned(),
        ]);
    }
    // Members report their own versions and addresses.
    lines.iter_mut().flatten().for_each(|cell| *cell = foreign::shown(cell));
    let mut text = String::new();
    let widths: Vec<usize> = (0..lines[0].len())
        .map(|at| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0))
        .collect();
    for line in &lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    for (member, health) in rows {
        if let Some(Err(error)) = health {
            let why = foreign::shown(&error.to_string());
            let node = foreign::shown(cut(&member.node_id));
            writeln!(text, "{node} does not answer: {why}")
                .expect("writing to a String cannot fail");
        }
    }
    for (member, health) in answers(rows) {
        for trouble in health.troubles() {
            writeln!(text, "{}: {trouble}", cut(&member.node_id))
                .expect("writing to a String cannot fail");
        }
    }
    text + &summary(cluster, rows)
}

fn summary(cluster: &Cluster, rows: &[MemberRow<'_>]) -> String {
    let mut roots: Vec<&str> = answers(rows).map(|(_, health)| &*health.merkle_root).collect();
    let answered = roots.len();
    roots.sort_unstable();
    roots.dedup();
    let compared = match (answered, roots.len()) {
        (0 | 1, _) => "not compared, fewer than two nodes answered".to_owned(),
        (_, 1) => "equal".to_owned(),
        (_, count) => format!("{count} different"),
    };
    let Gossip { pushed, failed, dropped, waiting } = &cluster.gossip;
    let id = if cluster.cluster_id.is_empty() { "not settled yet" } else { &cluster.cluster_id };
    let mut text = format!(
        "cluster: {}\nroots: {compared}\nshards: {}, {} replicas each, {} moved since the start\n\
         storage: every node holds the whole set; replicas are the nodes that gateways write to \
         and ask\n\
         gossip: {pushed} pushed, {failed} failed, {dropped} left to anti-entropy, \
         {waiting} waiting\n",
        foreign::shown(id),
        cluster.shards,
        cluster.replication_factor,
        cluster.shard_moves
    );
    for Sync { node_id, phase, received, sent, to_receive, to_send } in &cluster.syncs {
        writeln!(
            text,
            "sync with {} ({}): {received} received, {to_receive} to come; \
             {sent} sent, {to_send} to go",
            foreign::shown(cut(node_id)),
            foreign::shown(phase)
        )
        .expect("writing to a String cannot fail");
    }
    text
}

fn cut(hex: &str) -> &str {
    hex.get(..SHOWN).unwrap_or(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_every_member_and_who_does_not_answer() {
        let cluster = r#"{"node_id":"aaaaaaaaaaaaaaaa","cluster_id":"abc","members":[
            {"node_id":"aaaaaaaaaaaaaaaa","state":"Alive","rpc_addr":"a:1","api_addr":"a:2",
             "incarnation":1},
            {"node_id":"bbbbbbbbbbbbbbbb","state":"Suspect","rpc_addr":"b:1","api_addr":"b:2",
             "incarnation":1}],
            "shards":2,"replication_factor":3,"shard_moves":4,
            "gossip":{"pushed":5,"failed":6,"dropped":7,"waiting":8},
            "syncs":[{"node_id":"bbbbbbbbbbbbbbbb","phase":"pull","received":9,"sent":10,
             "to_receive":11,"to_send":12,"bytes_in":13,"bytes_out":14}]}"#;
        let cluster = Cluster::deserialize_json(cluster).expect("the shape of docs/http.md");
        let ranges = r#"{"ranges":[{"shard":0,"replicas":["aaaaaaaaaaaaaaaa","bbbbbbbbbbbbbbbb"]},
            {"shard":1,"replicas":["bbbbbbbbbbbbbbbb"]}]}"#;
        let ranges = Ranges::deserialize_json(ranges).expect("the shape of docs/http.md");
        let health = Health {
            assertions_count: 9,
            merkle_root: "cc".repeat(32),
            version: "0.1.0".into(),
            damaged_count: 2,
            writes: "read_only".into(),
            duplicate_node_id: "c:1".into(),
            joined: false,
        };
        let why = "no\n\u{1b}[2Jroots: equal".to_owned();
        let rows = [
            (&cluster.members[0], Some(Ok(health))),
            (&cluster.members[1], Some(Err(ApiError::Unreachable(why)))),
        ];
        let text = table(&cluster, &held(&ranges), &rows);
        let lines: Vec<Vec<&str>> =
            text.lines().map(|line| line.split_whitespace().collect()).collect();
        let own = ["aaaaaaaaaaaa*", "Alive", "a:1", "a:2", "0.1.0", "1", "1", "9", "cccccccccccc"];
        assert_eq!(lines[1], own);
        assert_eq!(lines[2], ["bbbbbbbbbbbb", "Suspect", "b:1", "b:2", "-", "1", "2", "-", "-"]);
        let troubles = "bbbbbbbbbbbb does not answer: no\\n\\u{1b}[2Jroots: equal\n\
            aaaaaaaaaaaa: its log is DAMAGED: 2 records or heads\n\
            aaaaaaaaaaaa: its disk is READ-ONLY, it takes no claims\n\
            aaaaaaaaaaaa: DUPLICATE node id: another live node, at c:1, has it as well\n\
            aaaaaaaaaaaa: it has NOT JOINED: it reached none of its seeds\n\
            cluster: abc\nroots: not compared, fewer than two nodes answered\n";
        assert!(text.contains(troubles), "{text}");
        assert!(
            text.contains("4 moved since the start\nstorage: every node holds the whole set; ")
        );
        assert!(text.contains("5 pushed, 6 failed, 7 left to anti-entropy, 8 waiting"));
        let sync = "sync with bbbbbbbbbbbb (pull): 9 received, 11 to come; 10 sent, 12 to go\n";
        assert!(text.ends_with(sync), "{text}");
        let object = object(&cluster, &held(&ranges), &rows);
        let start = "{\"node_id\":\"aaaaaaaaaaaaaaaa\",\"cluster_id\":\"abc\",\"is_well\":false,";
        assert!(object.starts_with(start) && object.ends_with("}]}\n"), "{object}");
        for part in [
            "\"shards\":1,\"replicas\":1,\"version\":\"0.1.0\",\"assertions_count\":9,",
            "\"troubles\":[\"its log is DAMAGED: 2 records or heads\",",
            "\"troubles\":[],\"error\":\"no\\\\n\\\\u{1b}[2Jroots: equal\"}",
            "\"phase\":\"pull\",\"received\":9,",
        ] {
            assert!(object.contains(part), "{part}: {object}");
        }
    }
}
