//! Bounds that clients or several modules meet, each with its reason, and the relations that must
//! hold between them.
//!
//! In: nothing. Out: constants. Never: a number that an operator has a reason to change (those are
//! settings).

use std::time::Duration;

/// Canonical bytes of one assertion. Four of them fit in what a default gRPC client accepts.
pub const ASSERTION_BYTES_MAX: usize = 1 << 20;
/// Subject or predicate, in bytes: names, not documents.
pub const NAME_BYTES_MAX: usize = 4096;
/// Text or reference of an object, in bytes; names and signatures fit beside it in an assertion.
pub const TEXT_BYTES_MAX: usize = 512 << 10;
/// Signatures on one assertion; each costs an Ed25519 verification (about 40 us).
pub const SIGNATURES_MAX: usize = 64;
/// Signatures verified in one batch: beyond a hundred a larger one is hardly faster, and the
/// batch's tables cost about 2 KiB a signature.
pub const SIGNATURE_BATCH_MAX: usize = 256;
/// Timestamps, in Unix seconds: the last second of the year 9999, what four-digit dates can say.
pub const TIMESTAMP_MAX: u64 = 253_402_300_799;

/// Assertions whose signatures are judged together; beyond 64 a batch gets hardly cheaper.
pub const VERIFY_BATCH_MAX: usize = 128;

/// Assertions one node holds: rows are numbered in 31 bits.
pub const ROWS_MAX: usize = (1 << 31) - 1;
/// Rows of the index in memory, at some 60 bytes, before they become a file; as many again while
/// that is written. Four attributes of rows (parents, references, agents, sources) count as one
/// more row.
pub const SPILL_ROWS: usize = 1 << 17;
/// Pages of an index file, at most 4,480 bytes each, that were made again from the log and that
/// the file does not take: beyond, the process ends and the next start makes the index again.
pub const INDEX_PAGES_KEPT_MAX: usize = 64;
/// Rows of one run: entries have three bytes for a row. So many stay in memory, a gigabyte of them,
/// where the index cannot be written.
pub const RUN_ROWS_MAX: usize = (1 << 24) - 1;
/// Bodies in one page of a query; whatever `limit` says, so that a page of large texts stays small.
pub const PAGE_BYTES_MAX: usize = 1 << 20;
/// Long queries looked at side by side, each with a page, the groups and the voices of a lens in
/// memory, 9 MiB at worst; one host has half of them at most. One short query is looked at beside
/// them.
pub const QUERIES_MAX: usize = 4;
/// Queries that wait for their answers, and calls that a gateway waits for, a few hundred bytes
/// each; one host has half of them at most. Half of it is less than [`CONNECTIONS_MAX`], so that a
/// client whose queries are slow leaves connections to others.
pub const QUERIES_WAITING_MAX: usize = 320;
/// Bytes of a body that count as one more candidate.
pub const SCAN_UNIT_BYTES: usize = 1 << 10;
/// Work on queries in one round of the reactor: about a millisecond.
pub const SCAN_SLICE_WORK: usize = 512;
/// Work until a query counts as long: a page of the largest kind is short.
pub const SCAN_SHORT_WORK: usize = 4 * SCAN_SLICE_WORK;
/// HTTP request body: the largest assertion as JSON with every byte of its text escaped costs more,
/// but such a text is no text; a quarter more than the canonical bytes serves real ones.
pub const HTTP_BODY_BYTES_MAX: usize = ASSERTION_BYTES_MAX + (256 << 10);
/// HTTP request head: line and headers. A subject and a predicate, percent-encoded, are 24 KiB.
pub const HTTP_HEAD_BYTES_MAX: usize = 32 << 10;
/// How long a client may take to send a request head, and how long a body that arrives, or an
/// answer that is fetched, may stay under [`HTTP_RATE_MIN`].
pub const HTTP_READ_MAX: Duration = Duration::from_secs(30);
/// Bytes a second that a body arrives with, and an answer is fetched with, at least. A link of
/// 4 KiB/s (GPRS, a good LoRa hop) has twice that; a byte each five seconds is no progress.
pub const HTTP_RATE_MIN: u64 = 2 << 10;
/// How long a body may take in all, and an answer: the largest body at [`HTTP_RATE_MIN`].
pub const HTTP_TRANSFER_MAX: Duration = Duration::from_secs(660);
/// How long a connection may keep the server waiting while other connections want its slot. At
/// 1,000 newcomers a second 150 of the slots are younger, so that one is free for each newcomer.
pub const HTTP_PATIENCE: Duration = Duration::from_millis(150);
/// Bytes a second of a body that buy its connection more time then: a slow home uplink.
pub const HTTP_PATIENCE_RATE: u64 = 64 << 10;
/// How long a request waits for a slot: what is slow has kept the server waiting for longer then.
pub const HTTP_SLOT_WAIT_MAX: Duration = Duration::from_millis(300);
/// How often it looks whether one can be vacated.
pub const HTTP_SLOT_PAUSE: Duration = Duration::from_millis(20);
/// For each so many slots a listener has one more connection whose request is read: health and
/// metrics are answered, all else waits for a slot. They give way to later ones, so that at 1,000
/// newcomers a second each of 32 has 32 ms for its request.
pub const HTTP_RESERVE_PART: usize = 8;
/// Time between two log lines of a listener about connections that it ended.
pub const ENDINGS_LOG_INTERVAL: Duration = Duration::from_secs(60);
/// Pieces of bodies that a connection is given in one round of the reactor. A chunk may be a byte,
/// and each costs a microsecond or two.
pub const HTTP_ROUND_PIECES: usize = 64;
/// How long a connection may wait for its next request.
pub const HTTP_IDLE_MAX: Duration = Duration::from_secs(75);
/// Request bodies that came in more than one piece, of all connections together, until they are
/// answered; half of it for the connections of one address.
pub const HTTP_HELD_BYTES_MAX: usize = 8 << 20;
/// Answers that clients have not fetched, of all connections together; half of it for one address.
pub const HTTP_UNSENT_BYTES_MAX: usize = 16 << 20;
/// Smaller answers are not counted: a connection costs as much.
pub const HTTP_SMALL_ANSWER_BYTES: usize = 16 << 10;
/// Bytes of an answer that is made while it is sent: as many as hyper takes at a time.
pub const HTTP_MADE_BYTES: usize = 16 << 10;
/// Lines of a batch that have no answer yet, of one connection: what the disk writes, and as many
/// that wait.
pub const BATCH_LINES_MAX: usize = 2 * BULK_QUEUE_MAX;
/// What is read and thrown away after a refusal, so that a client that is still sending gets to
/// see it.
pub const HTTP_LINGER_BYTES_MAX: usize = 8 << 20;
/// How long that may take.
pub const HTTP_LINGER_MAX: Duration = Duration::from_secs(2);
/// A caller's name for its request; longer ones are not handed back.
pub const REQUEST_ID_BYTES_MAX: usize = 256;
/// `limit` of a query when none is given.
pub const QUERY_LIMIT_DEFAULT: usize = 100;
/// `limit` of a query at most.
pub const QUERY_LIMIT_MAX: usize = 1000;
/// Values counted one by one under one lens, at about 300 bytes each, and twice as many beside them
/// that may be heavy: 4 MiB. A value is heavy that holds more of the whole than one of so many.
pub const GROUPS_MAX: usize = 4096;
/// Voices that a lens holds at a time, at about 75 bytes each: under 2 MiB. It looks at the claims
/// once more for each so many of them.
pub const VOICES_MAX: usize = 24 << 10;
/// Values whose newest assertions the skeptic collects in the first pass: 400 KiB, and 400 KiB with
/// their agents.
pub const CLAIMS_COLLECTED_MAX: usize = 400;
/// Claims in one answer of the skeptic, the weightiest first.
pub const CLAIMS_MAX: usize = 100;
/// Assertions named with one claim, the newest first.
pub const CLAIM_ASSERTIONS_MAX: usize = 16;
/// Agents and sources named with one claim where that is asked for, those with the lowest keys.
pub const CLAIM_BACKERS_MAX: usize = 16;

/// One gRPC message: what a default client accepts (4 MiB), in and out.
pub const GRPC_MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Hashes in one `FetchAssertions`.
pub const FETCH_HASHES_MAX: usize = 1000;
/// Leaves in one `GetLeaves` answer.
pub const LEAVES_MAX: usize = 10_000;
/// How far clocks may drift apart. A stamp further ahead of the wall clock moves no clock and is
/// not made; a claim further ahead is not judged yet. A minute is far beyond what NTP lets happen.
pub const HLC_DRIFT_MAX: Duration = Duration::from_secs(60);
/// Between two warnings that the clock of one peer, or this node's, is wrong.
pub const SKEW_WARN_PAUSE: Duration = Duration::from_secs(600);

/// Open connections per listener; each costs up to 27 KiB idle.
pub const CONNECTIONS_MAX: usize = 256;
/// Bytes that a connection of a client may bring in one round of the reactor, if they take no time
/// more: a hundred heads of calls, or a millisecond of the smallest frames there are. With twice
/// that, a hundred bodies that come at once took 5 MiB more.
pub const ROUND_READ_BYTES: usize = 8 << 10;
/// The same of a peer that this node dialled: one frame of a large answer.
pub const ROUND_READ_BYTES_CLIENT: usize = 64 << 10;
/// Bytes that any connection may be given in one round of the reactor: some 50 us of copying.
pub const ROUND_WRITE_BYTES: usize = 128 << 10;
/// Pause after a failed accept: it fails for want of descriptors or memory, and both come back when
/// other connections end.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Connections of one import: half of what a node takes, so that others get in.
pub const IMPORT_CONNECTIONS_MAX: u32 = CONNECTIONS_MAX as u32 / 2;
/// Short ids in one `FetchShort`: as many assertions as one answer holds for the most part.
pub const FETCH_SHORT_MAX: usize = 8192;
/// Bytes of the log in one answer of `Records`: with the largest assertion behind it, it fits.
pub const RECORDS_BYTES: u64 = 1 << 20;
/// Roots of this node that it remembers, with what it had then: an hour and more of short absences.
pub const ROOTS_KEPT: usize = 64;
/// Peers whose last row range is remembered, so that the next session resumes there.
pub const PULLS_KEPT: usize = 64;
/// Bytes of assertions after which a `Give` is full: both sides hold two of them.
pub const GIVE_BYTES_MAX: usize = 96 << 10;
/// Differences beyond which the sketch is not tried: its cells would not do.
pub const SKETCH_DIFFERENCES_MAX: u64 = 45_000;
/// Differences of a part of the set where more differs than that: at this size 1.5 cells decode
/// each of them, hardly more than the 1.36 of the limit, and two parts take under half a megabyte.
pub const PART_DIFFERENCES: u64 = 5_000;
/// Members of a part that a node sketches for a peer: in slices, about a second in all.
pub const PART_MEMBERS_MAX: u64 = 1 << 21;
/// Bits of the prefix that all ids of a part share, at most.
pub const PART_BITS_MAX: u32 = 18;
/// The bits that a node asks for first: it keeps counts of so many buckets, and reads none twice.
pub const PART_BITS_ASKED: u32 = 12;
/// Buckets of the Merkle tree: 32 KB of digests show which of them differ.
pub const BUCKETS: usize = 1 << PART_BITS_ASKED;
/// Peers' parts that are sketched side by side, each with up to a megabyte of cells.
pub const PARTS_SKETCHED_MAX: usize = 1;
/// Cells of the resident sketch, of 16 bytes: enough to decode some 45,000 differences.
pub const SKETCH_CELLS_MAX: usize = 1 << 16;
/// An answer of all these cells.
pub const SKETCH_ANSWER_BYTES_MAX: usize = SKETCH_CELLS_MAX * 12 + 1024;
/// Counts of 4 bits that go with a request, to estimate the differences: 8 KB, which estimate
/// 45,000 to 1 %.
pub const SKETCH_LOW_COUNTS_MAX: usize = 1 << 14;
/// How long a gateway tries to connect to a replica before it takes the next: many round trips.
pub const GATEWAY_CONNECT_MAX: Duration = Duration::from_secs(1);
/// How long a gateway waits for an answer, its own or a replica's: as long as browsers do. A slow
/// replica is waited for while the failure detector calls it alive and the client stays.
pub const GATEWAY_ANSWER_MAX: Duration = Duration::from_secs(300);
/// How long a request whose replicas all failed waits for their shard to be assigned to others: a
/// killed node is dead after about a second.
pub const GATEWAY_REMAP_MAX: Duration = Duration::from_secs(3);
/// How long a question at a gateway waits for claims that other nodes took and that are not here
/// yet: as long as a request waits for another owner. Then it is answered without them.
pub const GATEWAY_CATCH_UP_MAX: Duration = Duration::from_secs(3);
/// Connections to replicas that a gateway keeps without a request on them.
pub const GATEWAY_IDLE_MAX: usize = 32;
/// Characters of a text that another program sent, where it is shown: an error and its reason.
pub const FOREIGN_TEXT_MAX: usize = 256;
/// Kinds of log lines, by peer and reason, that are counted apart in a minute, of 100 bytes or so.
pub const LOG_KINDS_MAX: usize = 256;
/// Bytes of log lines that wait to be written, some 600 lines, and as many that are being written:
/// a burst at a start that finds damage. What is more is dropped and counted.
pub const LOG_QUEUE_BYTES: usize = 64 << 10;
/// How long the end of the process waits for its last log lines to be written.
pub const LOG_DRAIN_MAX: Duration = Duration::from_secs(1);
/// Members in the list, those included that are dead and not forgotten yet: about 300 bytes each.
pub const MEMBERS_MAX: usize = 2048;
/// Nodes that others name and that have not answered yet: as many as one welcome names. Members are
/// counted apart, so that made-up names take no slot from them.
pub const UNPROVEN_MAX: usize = MEMBERS_MAX;
/// Pings under way that check hearsay; unknown nodes that introduce themselves get two thirds of
/// them, those that are only named a third: a name without a node costs half an interval.
pub const CHECKS_MAX: u64 = 96;
/// Checks in a probe interval, over a long time: each may cost a dial.
pub const CHECKS_PER_INTERVAL: u64 = 256;
/// Checks ahead of that rate; the third of it that those only named get lets a newcomer learn of a
/// cluster of 256 at once.
pub const CHECKS_BURST: u64 = 768;
/// Refutations of a node in a probe interval: each of the few nodes that are
/// cut off from it at a time needs one.
pub const REFUTATIONS_MAX: u32 = 20;
/// An incarnation is Unix milliseconds and some refutations: this is the year 10889.
pub const INCARNATION_MAX: u64 = 1 << 48;
/// How far ahead of this node's a Lamport time may be: a node's moves by some thousands a second at
/// most.
pub const LAMPORT_AHEAD_MAX: u64 = 1 << 40;
/// Pings and requests for them whose end is not known: a node that is cut off from a large cluster
/// has no use for more.
pub const PROBES_MAX: usize = 512;
/// Others that a node pushes a new assertion to itself. Where there are more, it goes along trees,
/// of which most members send one copy for each assertion and a few about as many as this.
pub const GOSSIP_FANOUT: usize = 5;
/// Assertions that wait to be pushed to one peer, of 8 bytes each.
pub const GOSSIP_QUEUE_MAX: usize = 4096;
/// Pushes under way to one peer: what fills a link of 1 ms, and leaves streams for other calls.
pub const GOSSIP_UNDER_WAY_MAX: usize = 16;
/// Peers this node keeps a connection to: each costs about 20 KiB at either end.
pub const PEERS_MAX: usize = 64;
/// Concurrent HTTP/2 streams per connection.
pub const STREAMS_MAX: u32 = 128;
/// HTTP/2 header list per connection (h2's own default is 16 MiB).
pub const HEADER_LIST_BYTES_MAX: u32 = 16 << 10;
/// HTTP/2 send buffer per stream (h2's own default is 400 KiB).
pub const STREAM_SEND_BYTES_MAX: usize = 64 << 10;
/// Bytes of gRPC requests that arrive or are worked on, of all connections together.
pub const GRPC_HELD_BYTES_MAX: usize = 4 * GRPC_MESSAGE_BYTES_MAX;
/// Bytes of gRPC answers that clients have not read, of all connections together.
pub const GRPC_UNSENT_BYTES_MAX: usize = 4 * GRPC_MESSAGE_BYTES_MAX;
/// Bytes of either that one connection may take: a message of the largest size beside as many calls
/// as it may open.
pub const GRPC_CLIENT_BYTES_MAX: usize = GRPC_MESSAGE_BYTES_MAX + STREAMS_MAX as usize * CALL_BYTES;
/// What a call costs beside its message while it is not answered: its future, its stream in h2.
pub const CALL_BYTES: usize = 2 << 10;
/// Bytes that a client may send on one stream before this node takes them.
pub const STREAM_WINDOW_BYTES: u32 = 32 << 10;
/// gRPC calls whose requests are not whole, each with a window and [`CALL_BYTES`]: 16 MiB of peers,
/// and as many of all others.
pub const HALF_OPEN_ALL_MAX: usize = 480;
/// Answers up to this size do not count: pings and the like never wait for the answers that other
/// clients do not fetch.
pub const GRPC_SMALL_ANSWER_BYTES: usize = 4 << 10;
/// Bytes of small answers that one connection leaves unread.
pub const GRPC_SMALL_ANSWERS_BYTES_MAX: usize = 64 << 10;
/// Streams of health and reflection that one connection keeps open: a client watches one or two
/// services.
pub const STREAMS_OPEN_MAX: usize = 16;
/// The same of all connections together, at about 3 KiB each.
pub const STREAMS_OPEN_ALL_MAX: usize = 512;
/// How long such a stream may stay open without the cluster key.
pub const STREAM_MAX: Duration = Duration::from_secs(600);
/// Connections beyond [`CONNECTIONS_MAX`], for peers and for health.
pub const CONNECTIONS_KEPT: usize = 16;
/// Connections that have ended and that are read to the end, for [`GOAWAY_GRACE`] at most.
pub const FAREWELLS_MAX: usize = 64;
/// What such a client may still send: the calls that it had begun.
pub const FAREWELL_BYTES_MAX: usize = 64 << 10;
/// Bytes of pings, settings, window updates and taken-back calls that are looked at together.
pub const FLOOD_BYTES: u64 = 64 << 10;
/// A client that sends so many within this time, again and again for as long, and has no call
/// answered, is cut off. Window updates for answers come at a hundredth of it.
pub const FLOOD_MAX: Duration = Duration::from_secs(10);
/// How often the server checks the clients that hold budget while calls wait for it.
pub const STALL_LOOK: Duration = Duration::from_secs(1);
/// Bytes that a client who holds budget has to move between two checks.
pub const STALLED_BYTES: u64 = 1 << 10;
/// A client that moves more between two checks is quick enough to be waited for.
pub const QUICK_BYTES: u64 = 64 << 10;
/// Bytes that a client has to move in [`KEEPALIVE_INTERVAL`] while answers wait for it, even
/// if no other client waits: 1 KiB a second.
pub const FETCHED_BYTES_MIN: u64 = 30 << 10;
/// How long a gRPC request may take to arrive whole, whatever its own deadline.
pub const GRPC_READ_MAX: Duration = Duration::from_secs(30);
/// How long a client may take for the HTTP/2 preface and settings.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// HTTP/2 streams that a peer's protocol errors may reset, over the life of a connection; one error
/// is to open more streams than there may be. h2's own default: a client that makes more of them
/// without a call is cut off as a flood long before.
pub const LOCAL_RESETS_MAX: usize = 1024;
/// h2 charges each DATA frame under 256 bytes that waits unread with what it lacks; this is two
/// such frames for each stream, so that many small messages in one read never end a connection.
pub const DATA_FRAME_BUDGET: usize = 2 * 256 * STREAMS_MAX as usize;
/// A connection that was silent for so long is asked for a sign of life.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// How long it may take to give one.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Keepalive intervals without a call after which a server closes a connection: five minutes.
pub const IDLE_TICKS_MAX: u32 = 10;
/// How long a client may take to leave a connection after a GOAWAY.
pub const GOAWAY_GRACE: Duration = Duration::from_secs(1);
/// Calls in flight to one peer: under h2's budget for small DATA frames that wait unread.
pub const CALLS_IN_FLIGHT_MAX: usize = 64;
/// Deadline of a call to a peer that names none.
pub const CALL_MAX: Duration = Duration::from_secs(30);
/// How long a push of a new assertion may take: the other's flush, and a slow link. What is late
/// comes by anti-entropy.
pub const PUSH_MAX: Duration = Duration::from_secs(10);
/// How long a node may serve on after a stop was asked for: longer than any load balancer takes to
/// see that it is not ready.
pub const DRAIN_DELAY_MAX: Duration = Duration::from_secs(3600);
/// How long running requests may take to end after a stop was asked for.
pub const DRAIN_MAX: Duration = Duration::from_secs(5);

/// Address space of one log segment file.
pub const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// Assertions waiting for their flush; at 64 KiB a batch they are the memory the queue may hold.
pub const COMMIT_QUEUE_MAX: usize = 4096;
/// Assertions in one batch: where more wait, the callers of the last are answered, and the next
/// one is enqueued, while this one is written.
pub const BATCH_RECORDS_MAX: usize = 1024;
/// Assertions that came in bulk and wait for their flush, beside the others, and those of one batch
/// with some of them: at a flush of 0.1 s they are 40,000 a second.
pub const BULK_QUEUE_MAX: usize = 4096;
/// Bytes waiting for their flush.
pub const COMMIT_QUEUE_BYTES_MAX: usize = 8 << 20;
/// Bytes written by one flush at most.
pub const BATCH_BYTES_MAX: usize = 4 << 20;

/// File descriptors that no socket gets, or a quarter of all: the log's own, 64 segments that are
/// read, and the runs of the index.
pub const DESCRIPTORS_KEPT: u64 = 128;

/// Damage kept one by one until it is repaired; as many records are asked for by one call.
pub const DAMAGES_MAX: usize = FETCH_HASHES_MAX;
/// Of these, how many health and metrics name.
pub const DAMAGES_LISTED_MAX: usize = 100;
/// Unreadable positions that wait to be checked: what a page of a query may hold. What a read
/// finds beyond is found again by the next one; the scrubber waits.
pub const UNREADABLE_MAX: usize = 64;

/// A host name: what DNS allows.
pub const HOST_BYTES_MAX: usize = 253;
/// Name servers asked, as many as the C library reads of resolv.conf.
pub const NAME_SERVERS_MAX: usize = 3;
/// Suffixes of the search list: what Kubernetes allows.
pub const SEARCH_MAX: usize = 32;
/// Addresses of one name.
pub const ADDRESSES_MAX: usize = 64;
/// How long the look-up of a name may take: three silent servers, asked twice for the name with a
/// suffix and without, at the C library's five seconds each.
pub const LOOK_UP_MAX: Duration = Duration::from_secs(60);
/// How long one kind of address is waited for when the other is there. RFC 8305, section 3, waits
/// 50 ms; a radio link takes longer.
pub const OTHER_KIND_MAX: Duration = Duration::from_millis(300);
/// Seeds in the settings; one of them in reach is enough.
pub const SEEDS_MAX: usize = 64;
/// Origins whose web pages may call; looked through at each request that names one.
pub const ORIGINS_MAX: usize = 64;
/// Names of one's own that requests may ask for; looked through at each request by a name.
pub const HOSTS_MAX: usize = 64;
/// Root agents; what each says of an agent is held while a claim of it is judged.
pub const ROOT_AGENTS_MAX: usize = 64;
/// Shards: beyond a thousand a node, more of them balance nothing better.
pub const SHARDS_MAX: u32 = 65_536;
/// Nodes that hold one shard.
pub const REPLICAS_MAX: u32 = 16;
/// Disk budget at least: less is a forgotten unit (`64` for `64M`).
pub const LOG_BYTES_MIN: u64 = 64 << 10;
/// Bytes a second that anti-entropy takes, at least: one large assertion comes within its deadline.
pub const SYNC_RATE_MIN: u64 = 64 << 10;
/// Bytes a second that the scrubber reads, at least: a page.
pub const SCRUB_RATE_MIN: u64 = 4 << 10;
/// Period of probes and of anti-entropy at least: faster ones would only be traffic.
pub const INTERVAL_MIN: Duration = Duration::from_millis(10);
/// Period of probes and of anti-entropy at most: `off` says never.
pub const INTERVAL_MAX: Duration = Duration::from_secs(24 * 3600);

// The part of a heavy value is a number of bits.
const _: () = assert!(GROUPS_MAX.is_power_of_two());
const _: () = assert!(ASSERTION_BYTES_MAX * 2 <= GRPC_MESSAGE_BYTES_MAX);
const _: () = assert!(2 * 3 * NAME_BYTES_MAX + 4096 < HTTP_HEAD_BYTES_MAX);
const _: () = assert!(2 * GOSSIP_UNDER_WAY_MAX <= CALLS_IN_FLIGHT_MAX);
// A stream's window is granted before its budget: those of all streams fit beside one message.
const _: () = assert!(
    HALF_OPEN_ALL_MAX * (STREAM_WINDOW_BYTES as usize + CALL_BYTES) <= 4 * GRPC_MESSAGE_BYTES_MAX
);
const _: () = assert!(GRPC_CLIENT_BYTES_MAX <= GRPC_HELD_BYTES_MAX);
const _: () = assert!(FETCH_HASHES_MAX * 34 < GRPC_MESSAGE_BYTES_MAX);
const _: () = assert!(LEAVES_MAX * 34 < GRPC_MESSAGE_BYTES_MAX);
const _: () =
    assert!(TEXT_BYTES_MAX + 2 * NAME_BYTES_MAX + SIGNATURES_MAX * 128 < ASSERTION_BYTES_MAX);
const _: () = assert!(RECORDS_BYTES as usize + 2 * ASSERTION_BYTES_MAX <= GRPC_MESSAGE_BYTES_MAX);
const _: () = assert!(GIVE_BYTES_MAX + 2 * ASSERTION_BYTES_MAX <= GRPC_MESSAGE_BYTES_MAX);
const _: () = assert!(SKETCH_ANSWER_BYTES_MAX <= GRPC_MESSAGE_BYTES_MAX);
// A byte of text is six of JSON at worst (a control character), of opaque data two.
const _: () = assert!(2 * 6 * PAGE_BYTES_MAX <= HTTP_UNSENT_BYTES_MAX);
const _: () = assert!(HTTP_PATIENCE.as_millis() < HTTP_SLOT_WAIT_MAX.as_millis());
const _: () = assert!(QUERY_LIMIT_MAX + PAGE_BYTES_MAX / SCAN_UNIT_BYTES <= SCAN_SHORT_WORK);
const _: () = assert!(QUERIES_WAITING_MAX.div_ceil(2) < CONNECTIONS_MAX);
const _: () = assert!(4 * HTTP_BODY_BYTES_MAX <= HTTP_HELD_BYTES_MAX);
const _: () = assert!(HTTP_BODY_BYTES_MAX as u64 <= HTTP_TRANSFER_MAX.as_secs() * HTTP_RATE_MIN);
const _: () = assert!(BATCH_BYTES_MAX > ASSERTION_BYTES_MAX + 4096);
const _: () = assert!(COMMIT_QUEUE_BYTES_MAX >= BATCH_BYTES_MAX);
const _: () = assert!((BATCH_BYTES_MAX as u64) < SEGMENT_BYTES_MAX);
