//! What the `regex` crate takes and Envoy's RE2 doesn't, found in the syntax tree of an expression that the crate took.
//!
//! RE2 in newer Envoys compares bytes where older ones compare characters: no character beyond 255 can be named in both.

use regex_syntax::ast::parse::Parser;
use regex_syntax::ast::{
    self, AssertionKind, Ast, ClassSetBinaryOp, ClassSetItem, ClassUnicode, ClassUnicodeKind, Flag, FlagsItemKind,
    GroupKind, HexLiteralKind, Literal, LiteralKind, Repetition, RepetitionKind, RepetitionRange, Visitor,
};

/// The most repetitions RE2 takes, those of what is repeated included.
const MOST: u64 = 1_000;

/// The classes of more than one letter that RE2 knows and that hold a byte. It wants them spelled like this.
const CLASSES: [&str; 28] = [
    "Any", "Cc", "Cf", "Co", "Cs", "Ll", "Lm", "Lo", "Lt", "Lu", "Mc", "Me", "Mn", "Nd", "Nl", "No", "Pc", "Pd", "Pe",
    "Pf", "Pi", "Po", "Ps", "Sc", "Sk", "Sm", "So", "Zs",
];

/// Checks an expression; the error says what RE2 doesn't take.
pub fn check(text: &str) -> Result<(), String> {
    let tree = Parser::new().parse(text).map_err(|error| error.kind().to_string())?;
    ast::visit(&tree, Walk { around: Vec::new() })
}

struct Walk {
    /// How often the repetitions around repeat.
    around: Vec<u64>,
}

impl Visitor for Walk {
    type Output = ();
    type Err = String;

    fn finish(self) -> Result<(), String> {
        Ok(())
    }

    fn visit_pre(&mut self, tree: &Ast) -> Result<(), String> {
        match tree {
            Ast::Repetition(repetition) => self.enter(repetition),
            Ast::Group(group) => match &group.kind {
                GroupKind::CaptureName { name, .. } => group_name(&name.name),
                GroupKind::NonCapturing(written) => flags(written),
                GroupKind::CaptureIndex(_) => Ok(()),
            },
            Ast::Flags(written) => flags(&written.flags),
            Ast::Literal(written) => literal(written),
            Ast::Assertion(written) => assertion(&written.kind),
            Ast::ClassUnicode(class) => unicode(class),
            _ => Ok(()),
        }
    }

    fn visit_post(&mut self, tree: &Ast) -> Result<(), String> {
        if matches!(tree, Ast::Repetition(_)) {
            self.around.pop();
        }
        Ok(())
    }

    fn visit_class_set_item_pre(&mut self, item: &ClassSetItem) -> Result<(), String> {
        match item {
            ClassSetItem::Bracketed(_) => Err("a class inside a class".to_owned()),
            ClassSetItem::Literal(written) => literal(written),
            ClassSetItem::Range(range) => literal(&range.start).and_then(|()| literal(&range.end)),
            ClassSetItem::Unicode(class) => unicode(class),
            _ => Ok(()),
        }
    }

    fn visit_class_set_binary_op_pre(&mut self, _: &ClassSetBinaryOp) -> Result<(), String> {
        Err("set operations in a class".to_owned())
    }
}

impl Walk {
    /// RE2 multiplies the counts of repetitions within repetitions, and takes no repetition directly after another.
    fn enter(&mut self, repetition: &Repetition) -> Result<(), String> {
        if matches!(*repetition.ast, Ast::Repetition(_)) {
            return Err("a repetition of a repetition; put what is repeated into parentheses".to_owned());
        }
        self.around.push(u64::from(times(&repetition.op.kind)));
        let all = self.around.iter().fold(1, |all: u64, times| all.saturating_mul(*times));
        if all > MOST { Err(format!("more than {MOST} repetitions")) } else { Ok(()) }
    }
}

/// How often something is written out that repeats, at least once.
fn times(kind: &RepetitionKind) -> u32 {
    match kind {
        RepetitionKind::Range(
            RepetitionRange::Exactly(times) | RepetitionRange::AtLeast(times) | RepetitionRange::Bounded(_, times),
        ) => (*times).max(1),
        _ => 1,
    }
}

fn group_name(name: &str) -> Result<(), String> {
    let known = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.chars().all(known) { Ok(()) } else { Err("a group's name has letters, digits and _ only".to_owned()) }
}

fn flags(written: &ast::Flags) -> Result<(), String> {
    let foreign = |flag: &Flag| matches!(flag, Flag::Unicode | Flag::CRLF | Flag::IgnoreWhitespace);
    let mut flags = written.items.iter();
    let found = flags.any(|item| matches!(&item.kind, FlagsItemKind::Flag(flag) if foreign(flag)));
    if found { Err("unknown flag".to_owned()) } else { Ok(()) }
}

fn literal(written: &Literal) -> Result<(), String> {
    match written.kind {
        LiteralKind::HexFixed(HexLiteralKind::X) | LiteralKind::HexBrace(HexLiteralKind::X) if written.c > '\u{ff}' => {
            Err("bytes are compared, and none is more than \\xff".to_owned())
        }
        LiteralKind::HexFixed(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong)
        | LiteralKind::HexBrace(HexLiteralKind::UnicodeShort | HexLiteralKind::UnicodeLong) => {
            Err("unknown escape".to_owned())
        }
        _ => Ok(()),
    }
}

fn assertion(kind: &AssertionKind) -> Result<(), String> {
    match kind {
        AssertionKind::StartLine
        | AssertionKind::EndLine
        | AssertionKind::StartText
        | AssertionKind::EndText
        | AssertionKind::WordBoundary
        | AssertionKind::NotWordBoundary => Ok(()),
        _ => Err("unknown escape".to_owned()),
    }
}

fn unicode(class: &ClassUnicode) -> Result<(), String> {
    let known = match &class.kind {
        ClassUnicodeKind::OneLetter(_) => true,
        ClassUnicodeKind::Named(name) => {
            CLASSES.contains(&&**name)
                || matches!(&**name, "C" | "L" | "M" | "N" | "P" | "S" | "Z" | "Latin" | "Common")
        }
        ClassUnicodeKind::NamedValue { .. } => false,
    };
    if known { Ok(()) } else { Err("a Unicode class of that name is unknown, or has no byte in it".to_owned()) }
}
