//! A Rust source file into its documented public items: name, signature, documentation.

use proc_macro2::{LineColumn, Span};
use syn::spanned::Spanned;
use syn::{Attribute, Expr, ImplItem, Item, Lit, Meta, TraitItem, Visibility};

/// A documented item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DocumentedItem {
    /// `module::Type::method`, from the root of the crate.
    pub(super) name: String,
    /// As in the source, on one line, without body, attributes and comments.
    pub(super) signature: String,
    /// Markdown, all doc attributes joined.
    pub(super) documentation: String,
}

/// The documented public items of a file, in its order; `None` when it is not Rust that `syn` knows.
///
/// `module` is the path of the module that the file holds; empty at the root.
pub(super) fn documented(source: &str, module: &[String]) -> Option<Vec<DocumentedItem>> {
    let parsed = syn::parse_file(source).ok();
    let items = parsed.map(|file| {
        let mut reader =
            Reader { source: Lines::new(source), module: module.to_vec(), found: Vec::new() };
        reader.items(&file.items);
        reader.found
    });
    // Spans hold a copy of every file that was parsed on this thread.
    proc_macro2::extra::invalidate_current_thread_spans();
    items
}

struct Reader<'a> {
    source: Lines<'a>,
    module: Vec<String>,
    found: Vec<DocumentedItem>,
}

impl Reader<'_> {
    fn items(&mut self, items: &[Item]) {
        for item in items {
            self.item(item);
        }
    }

    fn item(&mut self, item: &Item) {
        match item {
            Item::Fn(f) if is_public(&f.vis) => {
                self.add(&f.attrs, f.sig.ident.to_string(), f.sig.span(), None);
            }
            Item::Struct(s) if is_public(&s.vis) => {
                self.add(&s.attrs, s.ident.to_string(), s.struct_token.span, Some(s.span()));
            }
            Item::Enum(e) if is_public(&e.vis) => {
                self.add(&e.attrs, e.ident.to_string(), e.enum_token.span, Some(e.span()));
            }
            Item::Union(u) if is_public(&u.vis) => {
                self.add(&u.attrs, u.ident.to_string(), u.union_token.span, Some(u.span()));
            }
            Item::Type(t) if is_public(&t.vis) => {
                self.add(&t.attrs, t.ident.to_string(), t.type_token.span, Some(t.span()));
            }
            Item::Const(c) if is_public(&c.vis) => {
                self.add(&c.attrs, c.ident.to_string(), c.const_token.span, Some(c.span()));
            }
            Item::Static(s) if is_public(&s.vis) => {
                self.add(&s.attrs, s.ident.to_string(), s.static_token.span, Some(s.span()));
            }
            Item::Macro(m) => {
                if let Some(name) = m.ident.as_ref().filter(|_| has(&m.attrs, "macro_export")) {
                    self.add(&m.attrs, format!("{name}!"), m.mac.path.span(), Some(name.span()));
                }
            }
            Item::Trait(t) if is_public(&t.vis) => self.trait_(t),
            Item::Impl(i) if i.trait_.is_none() && !is_hidden(&i.attrs) => self.impl_(i),
            Item::Mod(m) if !is_hidden(&m.attrs) => {
                if let Some((_, items)) = &m.content {
                    self.module.push(m.ident.to_string());
                    self.items(items);
                    self.module.pop();
                }
            }
            _ => {}
        }
    }

    fn trait_(&mut self, t: &syn::ItemTrait) {
        if is_hidden(&t.attrs) {
            return;
        }
        self.add(
            &t.attrs,
            t.ident.to_string(),
            t.trait_token.span,
            Some(t.brace_token.span.open()),
        );
        for item in &t.items {
            if let TraitItem::Fn(f) = item {
                self.add(&f.attrs, format!("{}::{}", t.ident, f.sig.ident), f.sig.span(), None);
            }
        }
    }

    fn impl_(&mut self, i: &syn::ItemImpl) {
        let syn::Type::Path(path) = &*i.self_ty else { return };
        let Some(owner) = path.path.segments.last() else { return };
        for item in &i.items {
            match item {
                ImplItem::Fn(f) if is_public(&f.vis) => {
                    let name = format!("{}::{}", owner.ident, f.sig.ident);
                    self.add(&f.attrs, name, f.sig.span(), None);
                }
                ImplItem::Const(c) if is_public(&c.vis) => {
                    let name = format!("{}::{}", owner.ident, c.ident);
                    self.add(&c.attrs, name, c.const_token.span, Some(c.span()));
                }
                _ => {}
            }
        }
    }

    fn add(&mut self, attrs: &[Attribute], name: String, from: Span, to: Option<Span>) {
        let documentation = documentation(attrs);
        if documentation.trim().is_empty() || is_hidden(attrs) {
            return;
        }
        let text = self.source.between(from.start(), to.unwrap_or(from).end());
        let path: Vec<&str> =
            self.module.iter().map(String::as_str).chain([name.as_str()]).collect();
        let name = path.join("::").replace("r#", "");
        self.found.push(DocumentedItem {
            name,
            signature: one_line(text).trim_end_matches(['{', ' ']).to_owned(),
            documentation,
        });
    }
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// Not for readers: `#[doc(hidden)]`, `#[cfg(test)]`, `#[test]`, `#[deprecated]`.
fn is_hidden(attrs: &[Attribute]) -> bool {
    attrs.iter().any(|attr| {
        let Meta::List(list) = &attr.meta else {
            return attr.path().is_ident("test") || attr.path().is_ident("deprecated");
        };
        let argument = list.tokens.to_string();
        (list.path.is_ident("doc") && argument == "hidden")
            || (list.path.is_ident("cfg") && argument == "test")
            || list.path.is_ident("deprecated")
    })
}

fn has(attrs: &[Attribute], name: &str) -> bool {
    attrs.iter().any(|attr| attr.path().is_ident(name))
}

/// `///`, `/** */` and `#[doc = "..."]`, joined and without the indentation that all lines share.
fn documentation(attrs: &[Attribute]) -> String {
    let mut lines: Vec<String> = Vec::new();
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("doc")) {
        let Meta::NameValue(doc) = &attr.meta else { continue };
        // `#[doc = include_str!(..)]` and `concat!` are expressions that only the compiler evaluates.
        let Expr::Lit(value) = &doc.value else { continue };
        let Lit::Str(text) = &value.lit else { continue };
        // Not `lines()`: an empty `///` ends a paragraph.
        lines.extend(text.value().split('\n').map(|line| line.trim_end().to_owned()));
    }
    let is_starred = |line: &String| line.trim_start().starts_with('*') || line.is_empty();
    if lines.len() > 1 && lines[1..].iter().all(is_starred) {
        for line in &mut lines {
            *line = line.trim_start().trim_start_matches('*').to_owned();
        }
    }
    let indent = |line: &String| line.len() - line.trim_start().len();
    let shared = lines.iter().filter(|line| !line.trim().is_empty()).map(indent).min().unwrap_or(0);
    let cut: Vec<&str> = lines.iter().map(|line| line.get(shared..).unwrap_or("")).collect();
    cut.join("\n")
}

/// Drops comments and attributes that stand on lines of their own, and folds white space.
fn one_line(source: &str) -> String {
    let kept = source.lines().filter(|line| {
        let line = line.trim_start();
        !line.starts_with("//")
            && !line.starts_with("#[")
            && !line.starts_with("/*")
            && !line.starts_with("* ")
    });
    let words: Vec<&str> = kept.flat_map(str::split_whitespace).collect();
    words.join(" ")
}

/// A text with the places of its lines.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        // `syn` skips these before it counts columns.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1));
        Self { text, starts: starts.collect() }
    }

    fn between(&self, from: LineColumn, to: LineColumn) -> &'a str {
        self.text.get(self.offset(from)..self.offset(to)).unwrap_or("")
    }

    /// Lines count from 1, columns are characters from 0.
    fn offset(&self, place: LineColumn) -> usize {
        let start =
            self.starts.get(place.line.saturating_sub(1)).copied().unwrap_or(self.text.len());
        let line = &self.text[start..];
        let column = line.char_indices().nth(place.column).map_or(line.len(), |(at, _)| at);
        start + column
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r##"
//! A file.
/// Makes a thing.
///
/// At once.
#[inline]
pub fn make<T: Clone>(
    // how many
    n: usize,
) -> Vec<T> where T: Default { todo!() }
/// Private.
fn hidden() {}
#[doc = "Holds a number."]
#[derive(Clone)]
pub struct Holder {
    /// The number.
    #[serde(default)]
    pub n: u32,
}
impl Holder {
    /** Takes it apart,
     *  for good. */
    pub const fn r#into(self) -> u32 { self.n }
    /// No longer.
    #[deprecated]
    pub fn old(self) {}
}
pub mod inner {
    /// Says hello, é to all; in Ünïcode.
    pub trait Hello: Send { /** Says it. */ fn hello(&self, to: &str) -> bool { true } }
    #[cfg(test)]
    mod tests { /// Not this.
        pub fn test() {} }
}
/// Builds a list.
#[macro_export]
macro_rules! list { () => {} }
"##;

    #[test]
    fn public_items_come_with_signature_and_documentation() {
        let found = documented(SOURCE, &["a".to_owned()]).unwrap();
        let lines: Vec<String> = found
            .iter()
            .map(|item| format!("{} | {} | {:?}", item.name, item.signature, item.documentation))
            .collect();
        let expected = expect_test::expect![[r#"
            a::make | fn make<T: Clone>( n: usize, ) -> Vec<T> where T: Default | "Makes a thing.\n\nAt once."
            a::Holder | struct Holder { pub n: u32, } | "Holds a number."
            a::Holder::into | const fn r#into(self) -> u32 | "Takes it apart,\n  for good."
            a::inner::Hello | trait Hello: Send | "Says hello, é to all; in Ünïcode."
            a::inner::Hello::hello | fn hello(&self, to: &str) -> bool | "Says it."
            a::list! | macro_rules! list | "Builds a list."
        "#]];
        expected.assert_eq(&format!("{}\n", lines.join("\n")));
    }

    #[test]
    fn what_is_not_rust_is_refused() {
        assert_eq!(documented("fn (", &[]), None);
    }
}
