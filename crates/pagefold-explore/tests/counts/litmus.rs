//! Litmus tests.

use crate::check::check_all;
use crate::memory::body;
use crate::table::{GENMC, litmus, program};

#[test]
fn litmus_tests() {
    check_all([
        litmus("SB", 3, "x=1 y | y=1 x"),
        litmus("SB+rfis", 3, "x=1 x y | y=1 y x"),
        litmus("MP", 3, "x=1 y=1 | y x"),
        litmus("MP+rel+acq", 2, "x=1 y=1 | y>0 x"),
        litmus("MP+rels+acq", 3, "x=1 y=0 y=1 | y>0 x"),
        litmus("MP+incMP", 7, "y z+1 | z+1 x | x=1 y=1"),
        litmus("MP2", 9, "a=1 c=1 b=1 d=1 | b a | d c"),
        litmus("MPU+rel+acq", 6, "x=1 y=1 | y+1 | y>1 x=2"),
        litmus("MPU+rels+acq", 12, "x=1 y=0 y=1 | y+1 | y>1 x=2"),
        litmus("MPU2+rel+acq", 14, "x=1 y=1 | y:2:3 | y:1:2 | y>2 x=2"),
        litmus("MPU2+rels+acq", 35, "x=1 y=0 y=1 | y:2:3 | y:1:2 | y>2 x=2"),
        litmus("LB", 3, "y x=1 | x y=1"),
        litmus("LB3", 7, "a b=1 | b c=1 | c a=1"),
        litmus("LB+incMPs", 15, "x z+1 | z+1 y=1 | y w+1 | w+1 x=1"),
        litmus("LB+fr-fr-data+data", 16, "x y=1 | y y x=1 | y=2"),
        litmus("S", 3, "x=2 y=1 | y x=1"),
        litmus("S+rel+acq", 2, "x=1 y=1 | y>0 x=2"),
        litmus("S+rels+acq", 3, "x=1 y=0 y=1 | y>0 x=2"),
        litmus("2+2W", 3, "x=1 y=2 | y=1 x=2"),
        litmus("2CoWR", 4, "y | x | x=1 | y=1"),
        litmus("CoRR", 6, "x=1 x=2 | x x"),
        litmus("CoRR0", 4, "x=1 | x | x"),
        litmus("CoRR1", 36, "x=1 | x=2 | x x | x"),
        litmus("CoRR2", 72, "x=1 | x=2 | x x | x x"),
        litmus("CoRW", 3, "x x=1 | x=2"),
        litmus("CoWR", 3, "x=1 x | x=2"),
        litmus("IRIW", 15, "x=1 | x y | y x | y=1"),
        litmus("IRIWish", 27, "x=1 | x y=1 | x y | y x"),
        litmus("JLT", 8, "x=1 y x | x=2 x | y=3"),
        litmus("MCP-rrw", 6, "x=1 | x=2 | x"),
        litmus("RMWFix", 4, "y>0 x+1 x+1 | x+1 | y=42"),
        litmus("RWC+syncs", 7, "x=1 | x y | y=1 x"),
        litmus("W+RWC", 7, "x=1 z=1 | z y | y=1 x"),
        litmus("W+RRR+W", 20, "x=1 | x x x | x=2"),
        litmus("WRC", 7, "x=1 | x y=1 | y x"),
        litmus("WWmerge1", 15, "x y | x=1 x=2 | y=1 x"),
        litmus("WWmerge2", 7, "x y | x=2 | y=1 x"),
        litmus("Z6+acq", 7, "a=1 b=1 | b c=1 | c=2 a"),
        litmus("Z6.U", 18, "x=1 y=1 | y+1 y | y=3 x"),
        litmus("atomicpo", 3, "y=1 x=1 | x~1 y~1"),
        litmus("ccr", 2, "x:0:42 | x:0:17 x"),
        litmus("cii", 6, "x:1:2 | x+1 | x+1"),
        litmus("cumul-release", 7, "x=1 y=1 | y z=1 | z x"),
        litmus("default", 12, "x x | x=1 | x=2"),
        litmus("detour", 9, "x=1 | z x=3 x y=1 | y z=1"),
        litmus("fr+w+w+w+reads", 210, "x=1 | x=2 | x=3 | x x x x"),
        litmus("inc+inc+RR+W+RR", 600, "x+1 | x+1 | x x | x=42 | x x"),
        litmus("inc2w", 6, "x+1 | x=4 | x+2"),
        litmus("ISA2", 7, "a=1 b=1 | b c=1 | c a"),
        litmus("ori", 5, "x+1 y=1 | x:0:1 | y>0 x=4"),
        litmus("peterZ", 7, "x=1 y | y=1 z=1 | z x"),
        litmus("po-loc", 3, "y x x=1 | x y=1"),
        litmus("rel-B-cumul-acq", 14, "x=1 y=1 | y z=1 | z x | y"),
        litmus("rel-pporf", 3, "x z=1 z~1 y=1 | y x=1"),
        litmus("relseq", 16, "x=1 y=1 y=2 | y~3 | y x"),
        litmus("rfi-preserved", 3, "x y=1 y z=1 | z x=1"),
        litmus("rii", 3, "x x+1 | x+1"),
        litmus("rinc+wr", 3, "x+1 | x=2 x"),
        litmus("riwi", 3, "y x+1 | x+1 y=1"),
        litmus("small0", 9, "x | x x=1 | x=2"),
        litmus("small1", 8, "y z x | x=1 | y=1 z=1"),
        litmus("viktor-relseq", 180, "l+1 l+1 | l+1 l+1 | l+1 | l+1"),
        litmus("wcii", 24, "x=5 | x:1:2 | x+1 | x+1"),
        litmus("wrc11_fp", 4, "x=1 | x=2 x x"),
        litmus("wrw(2)", 22, "x=1 | x x=2 | x x=3"),
        litmus("wrw(3)", 300, "x=1 | x x=2 | x x=3 | x x=4"),
        litmus("wrw(4)", 6_576, "x=1 | x x=2 | x x=3 | x x=4 | x x=5"),
        litmus("CoA(2)", 15, "x=1 y x | x=2 z x | y=1 z=1"),
        litmus("CoA(3)", 130, "x=1 y x | x=2 z x | y=1 z=1 | y=2 z=2"),
        litmus(
            "CoA(4)",
            2_028,
            "x=1 y x | x=2 z x | y=1 z=1 | y=2 z=2 | y=3 z=3",
        ),
        // The value that was read is the one that is replaced, elsewhere.
        program(
            "casdep",
            GENMC,
            2,
            vec![
                body(|m| {
                    let a = m.read(23);
                    m.cas(24, a, 1);
                    m.write(25, a);
                }),
                body(|m| m.write(24, 2)),
            ],
        ),
        // The second value is written only if both reads agree.
        program(
            "TC2",
            GENMC,
            4,
            vec![
                body(|m| {
                    if m.read(0) == m.read(0) {
                        m.write(1, 1);
                    }
                }),
                body(|m| m.write(0, m.read(1))),
            ],
        ),
        // Waits that can fail.
        program(
            "assume-ctrl",
            GENMC,
            4,
            vec![
                body(|m| {
                    // Two reads, of which the second is not made if the first is enough.
                    if m.read(1) >= 2 {
                        m.wait(1, |y| y > 3);
                    }
                    m.write(0, 1);
                }),
                body(|m| {
                    m.wait(0, |x| x < 3);
                    m.write(1, 3);
                    m.write(1, 4);
                }),
            ],
        )
        .may_block(),
    ]);
}
