//! What our nodes call beyond the five standard calls, asked by tonic and held against the page
//! that defines it.

use std::collections::BTreeSet;

use tonic::Code;
use vendor_tests::claims::{fill, opaque};
use vendor_tests::edge::edge_service_client::EdgeServiceClient;
use vendor_tests::edge::{DigestsRequest, LeavesOfRequest, SketchRequest};
use vendor_tests::node::Node;
use vendor_tests::set::Hash;

#[tokio::test]
async fn digests_are_those_of_the_hashes_in_each_bucket() {
    let node = Node::start(&[]);
    let hashes = fill(&node.client().await, (0..400).map(opaque)).await;
    let mut edge = EdgeServiceClient::new(node.channel().await);
    let digests = edge.digests(DigestsRequest {}).await.unwrap().into_inner().digests;
    assert_eq!(digests.len(), 8 * 4096);
    let mut seen: BTreeSet<Hash> = BTreeSet::new();
    for (part, digest) in (0..).zip(digests.chunks(8)) {
        if digest == [0; 8] {
            continue;
        }
        let request = LeavesOfRequest { part_bits: 12, part };
        let leaves = edge.leaves_of(request).await.unwrap().into_inner().leaves;
        let count = u32::try_from(leaves.len() / 32).unwrap().to_le_bytes();
        let page = [&[0][..], &count, &leaves].concat();
        assert_eq!(digest, &blake3::hash(&page).as_bytes()[..8], "bucket {part}");
        seen.extend(leaves.chunks(32).map(|leaf| Hash::try_from(leaf).unwrap()));
    }
    assert_eq!(seen, hashes.into_iter().collect());
    let all = edge.leaves_of(LeavesOfRequest { part_bits: 1, part: 0 }).await.unwrap();
    let low = seen.iter().filter(|hash| hash[0] < 128);
    let expected: Vec<u8> = low.flatten().copied().collect();
    assert_eq!(all.into_inner().leaves, expected);
    for (part_bits, part) in [(0, 0), (3, 8), (19, 0)] {
        let refused = edge.leaves_of(LeavesOfRequest { part_bits, part }).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{part_bits} bits, part {part}");
    }
}

#[tokio::test]
async fn a_part_is_sketched_for_who_asks() {
    let node = Node::start(&[]);
    let hashes = fill(&node.client().await, (0..400).map(opaque)).await;
    let mut edge = EdgeServiceClient::new(node.channel().await);
    let request = SketchRequest { cells: 5, part_bits: 2, part: 3, ..Default::default() };
    let answer = edge.sketch(request).await.unwrap().into_inner();
    let of_part: Vec<&Hash> = hashes.iter().filter(|hash| hash[0] >> 6 == 3).collect();
    assert_eq!((answer.part_bits, answer.part, answer.from), (2, 3, 0));
    assert_eq!(answer.assertion_count, of_part.len() as u64);
    assert_eq!((answer.cells.len(), answer.hint.len()), (60, 0));
    // All members lie in the first cell.
    let short = |hash: &&Hash| u64::from_be_bytes(hash[..8].try_into().unwrap());
    let sum = of_part.iter().map(short).fold(0, |sum, id| sum ^ id);
    assert_eq!(answer.cells[..8], sum.to_le_bytes());
    let whole = edge.sketch(SketchRequest { cells: 1, ..Default::default() }).await.unwrap();
    assert_eq!(whole.into_inner().hint.len(), 20);
}
