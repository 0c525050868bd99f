//! Pages of a run that cannot be read, made again from the log.
//!
//! In: runs with pages that were damaged. Out: the runs as they were. Never: opens a file.

use super::*;
use crate::store::run::Run;
use crate::store::section::SectionKind;

const SEED: u64 = 9;
const KINDS: [SectionKind; 5] = [
    SectionKind::Hashes,
    SectionKind::Positions,
    SectionKind::Subjects,
    SectionKind::Predicates,
    SectionKind::Attributes,
];

/// A log over two segments, in which every tenth record stands twice, and the file of its second
/// run.
struct RunAndLog {
    log: BTreeMap<u64, Sealed>,
    claims: Vec<(Sealed, Position)>,
    file: Vec<u8>,
}

impl RunAndLog {
    fn new() -> RunAndLog {
        let mut store = Store::new(SEED).spilling_after(1_800);
        let mut bodies = BodiesInMemory::default();
        let (mut claims, mut at) = (Vec::new(), Position::first_of(0));
        let mut file = Vec::new();
        for number in 0..3_600 {
            if number == 2_500 {
                at = Position::first_of(1);
            }
            let parent = (number % 8 > 0).then(|| Digest::of(&[number as u8]));
            let (subject, predicate) = (format!("s{}", number / 4), format!("p{}", number % 9));
            let mut draft = draft(&subject, &predicate, number);
            draft.parent_hash = parent;
            if number % 5 == 0 {
                draft.object = Object::Reference(format!("s{}", number % 7));
                draft.source_hash = Digest([number as u8; 32]);
            }
            let sealed = seal(draft);
            claims.push((sealed.clone(), at));
            for _ in 0..1 + usize::from(number % 10 == 0) {
                bodies.sealed.insert(at.0, sealed.clone());
                store.apply(&Committed::recovered(at, sealed.clone()), &bodies);
                at = Position(at.0 + frame_bytes(sealed.bytes().len()) as u64);
            }
            if number % 1_800 == 1_799 {
                let spill = store.spill_all().expect("rows in memory");
                file.clear();
                spill.write(&mut Sink::new(&mut |bytes| file.extend_from_slice(bytes)));
                store.adopt(open(file.clone()).expect("a run that was written"));
            }
        }
        assert_eq!(store.runs.len(), 2);
        claims.drain(..1_800);
        RunAndLog { log: bodies.sealed, claims, file }
    }

    fn run(&self, file: Vec<u8>) -> Run {
        open_beside(file, self.log.clone()).expect("its summary is whole").with_seed(SEED)
    }

    /// The file with some pages of a section damaged.
    fn damaged(&self, kind: SectionKind, is_damaged: impl Fn(usize) -> bool) -> Vec<u8> {
        let (run, mut file) = (self.run(self.file.clone()), self.file.clone());
        let section = run.section_of(kind);
        for index in (0..section.separators.len()).filter(|index| is_damaged(*index)) {
            let bytes = section.shape.per_page * section.shape.width;
            file[section.at as usize + index * bytes + 3] ^= 0x40;
        }
        assert_ne!(file, self.file);
        file
    }

    /// Looks for some of what is on every page of the run.
    fn look_for_all(&self, run: &Run) {
        for (row, (sealed, at)) in (1_800..).zip(&self.claims).step_by(7) {
            assert_eq!(run.find(&sealed.digest()), Some(row));
            assert_eq!(run.position(row), *at);
            let names = row::RowNames::of(sealed, SEED);
            for column in row::Column::ALL {
                for name in names.of_column(column) {
                    assert_eq!(run.named(*name, column, row + 1).last(), Some(&row));
                }
            }
        }
    }
}

#[test]
fn a_page_that_cannot_be_read_is_made_again_from_the_log() {
    let world = RunAndLog::new();
    for kind in KINDS {
        for choice in 0..4 {
            let file = world.damaged(kind, |index| match choice {
                0 => index == 0,
                1 => index % 3 == 1,
                2 => index > 1,
                _ => true,
            });
            let run = world.run(file);
            assert!(!run.is_whole());
            world.look_for_all(&run);
            assert!(run.is_whole(), "{kind:?}, choice {choice}: restored as it was");
        }
    }
}

#[test]
fn a_page_is_not_made_again_from_a_log_that_lacks_one_of_its_records() {
    let mut world = RunAndLog::new();
    let (_, at) = world.claims[900];
    world.log.remove(&at.0);
    for kind in KINDS {
        let run = world.run(world.damaged(kind, |_| true));
        let log = BodiesInMemory { sealed: world.log.clone(), ..BodiesInMemory::default() };
        assert_eq!(run.rebuild(kind, &log), None, "{kind:?}");
    }
    let run = world.run(world.damaged(SectionKind::Hashes, |_| true));
    let log = BodiesInMemory {
        heads: [(at.0, world.claims[900].0.digest())].into(),
        ..BodiesInMemory::default()
    };
    let log = BodiesInMemory { sealed: world.log.clone(), ..log };
    assert!(run.rebuild(SectionKind::Hashes, &log).is_some(), "its head is enough");
}
