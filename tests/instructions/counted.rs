//! A module that counts the instructions that it executes.

use walrus::ir::{
    BinaryOp, Binop, Const, GlobalGet, GlobalSet, Instr, InstrLocId, InstrSeqId, Value,
};
use walrus::{ConstExpr, GlobalId, LocalFunction, Module, ValType};

/// Name of the global that holds the count.
pub const COUNTER: &str = "instructions";

/// Adds a global to the module that counts its executed instructions. An instruction that only
/// names a value (a local, a constant) does not count: compilers turn it into an operand. One that
/// copies or fills memory counts once, whatever the length.
pub fn counted(module: &[u8]) -> Vec<u8> {
    let mut module = Module::from_buffer(module).expect("the module is well formed");
    let zero = ConstExpr::Value(Value::I64(0));
    let counter = module.globals.add_local(ValType::I64, true, false, zero);
    module.exports.add(COUNTER, counter);
    for (_, function) in module.funcs.iter_local_mut() {
        let entry = function.entry_block();
        count(function, entry, counter);
    }
    module.emit_wasm()
}

/// Adds to the counter at the end of each basic block.
fn count(function: &mut LocalFunction, sequence: InstrSeqId, counter: GlobalId) {
    let instructions = std::mem::take(&mut function.block_mut(sequence).instrs);
    let mut counting = Vec::with_capacity(instructions.len() * 2);
    let mut pending = 0;
    for (instruction, location) in instructions {
        pending += weight(&instruction);
        let inner: &[InstrSeqId] = match &instruction {
            Instr::Block(block) => &[block.seq],
            Instr::Loop(block) => &[block.seq],
            Instr::IfElse(fork) => &[fork.consequent, fork.alternative],
            _ => &[],
        };
        let leaves = matches!(
            instruction,
            Instr::Br(_)
                | Instr::BrIf(_)
                | Instr::BrTable(_)
                | Instr::Return(_)
                | Instr::Unreachable(_)
        );
        if leaves || !inner.is_empty() {
            add(&mut counting, std::mem::take(&mut pending), counter);
        }
        for inner in inner {
            count(function, *inner, counter);
        }
        counting.push((instruction, location));
    }
    add(&mut counting, pending, counter);
    function.block_mut(sequence).instrs = counting;
}

fn weight(instruction: &Instr) -> i64 {
    match instruction {
        Instr::Block(_)
        | Instr::Const(_)
        | Instr::Drop(_)
        | Instr::LocalGet(_)
        | Instr::LocalSet(_)
        | Instr::LocalTee(_)
        | Instr::Loop(_) => 0,
        _ => 1,
    }
}

fn add(instructions: &mut Vec<(Instr, InstrLocId)>, number: i64, counter: GlobalId) {
    if number > 0 {
        let added = [
            Instr::GlobalGet(GlobalGet { global: counter }),
            Instr::Const(Const { value: Value::I64(number) }),
            Instr::Binop(Binop { op: BinaryOp::I64Add }),
            Instr::GlobalSet(GlobalSet { global: counter }),
        ];
        instructions.extend(added.map(|instruction| (instruction, InstrLocId::default())));
    }
}
