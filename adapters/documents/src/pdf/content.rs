//! What a page shows: the operators of its content that show text, or move it (ISO 32000-2, 8.4 and 9).

use std::sync::Arc;

use hayro_cmap::{BfString, load_embedded};
use hayro_font::hayro_syntax::content::TypedIter;
use hayro_font::hayro_syntax::content::ops::TypedInstruction as Op;
use hayro_font::hayro_syntax::object::{Dict, Name, Number, Object, Stream, String as Text};
use hayro_font::hayro_syntax::page::{Page, Resources};
use hayro_font::kurbo::{Affine, Point, Vec2};
use hayro_font::{
    CMapResolverFn, Font, FontCache, FontGlyph, FontQuery, FontResolverFn, GlyphId, StandardFont,
    UNITS_PER_EM,
};

use super::document::text_string;
use super::layout::{Glyph, Pages};

/// The most operators of a document: forms that show each other show more than there is.
const MAX_OPERATORS: u32 = 10_000_000;
/// How many operators a form counts for, beside its own: it is inflated each time it is shown.
const FORM: u32 = 100;
/// How deep forms may show forms.
const MAX_DEPTH: u32 = 20;

/// Goes over pages with the fonts of their document.
pub(super) struct Painter<'a> {
    fonts: FontCache<'a>,
    font_resolver: FontResolverFn,
    cmap_resolver: CMapResolverFn,
    /// For text that no font was set for.
    fallback: Option<Font<'a>>,
    left: u32,
    state: State<'a>,
    saved: Vec<State<'a>>,
    /// The marked content that is open.
    marked: Vec<Marked>,
}

/// The part of the graphics state that text depends on.
#[derive(Clone)]
struct State<'a> {
    ctm: Affine,
    font: Option<Font<'a>>,
    size: f64,
    char_space: f64,
    word_space: f64,
    /// 1 for text as wide as its font says.
    stretch: f64,
    leading: f64,
    rise: f64,
    matrix: Affine,
    line_matrix: Affine,
}

/// Marked content. Some says itself which text it shows; then its glyphs only say where.
enum Marked {
    Plain,
    Replaced { text: String, bounds: Option<(Glyph, Point)> },
}

impl<'a> Painter<'a> {
    pub(super) fn new() -> Self {
        let font_resolver: FontResolverFn = Arc::new(|query: &FontQuery| {
            let font = match query {
                FontQuery::Standard(font) => *font,
                FontQuery::Fallback(wanted) => wanted.pick_standard_font(),
            };
            Some(font.get_font_data())
        });
        let fonts = FontCache::new();
        Self {
            fallback: fonts.standard_font(StandardFont::Helvetica, &font_resolver),
            fonts,
            font_resolver,
            cmap_resolver: Arc::new(load_embedded),
            left: MAX_OPERATORS,
            state: State::new(),
            saved: Vec::new(),
            marked: Vec::new(),
        }
    }

    /// Whether there was more than a document may have.
    pub(super) fn is_exhausted(&self) -> bool {
        self.left == 0
    }

    /// Puts what a page shows.
    pub(super) fn paint(&mut self, page: &Page<'a>, pages: &mut Pages) {
        self.state = State::new();
        self.saved.clear();
        self.marked.clear();
        self.work(page.typed_operations(), page.resources(), 0, pages);
    }

    fn work(
        &mut self,
        mut operators: TypedIter<'_>,
        resources: &Resources<'a>,
        depth: u32,
        pages: &mut Pages,
    ) {
        let base = self.saved.len();
        while let Some(operator) = operators.next() {
            self.left = self.left.saturating_sub(1);
            if self.left == 0 || pages.is_full() {
                return;
            }
            let state = &mut self.state;
            match operator {
                Op::SaveState(_) => self.saved.push(state.clone()),
                // What a page has saved is no form's to restore.
                Op::RestoreState(_) if self.saved.len() > base => {
                    if let Some(saved) = self.saved.pop() {
                        self.state = saved;
                    }
                }
                Op::Transform(m) => state.ctm *= matrix([m.0, m.1, m.2, m.3, m.4, m.5]),
                Op::BeginText(_) => state.place(Affine::IDENTITY),
                Op::SetTextMatrix(m) => state.place(matrix([m.0, m.1, m.2, m.3, m.4, m.5])),
                Op::NextLine(by) => state.next_line(by.0.as_f64(), by.1.as_f64()),
                Op::NextLineAndSetLeading(by) => {
                    state.leading = -by.1.as_f64();
                    state.next_line(by.0.as_f64(), by.1.as_f64());
                }
                Op::NextLineUsingLeading(_) => state.next_line(0.0, -state.leading),
                Op::CharacterSpacing(space) => state.char_space = space.0.as_f64(),
                Op::WordSpacing(space) => state.word_space = space.0.as_f64(),
                Op::HorizontalScaling(percent) => state.stretch = percent.0.as_f64() / 100.0,
                Op::TextLeading(leading) => state.leading = leading.0.as_f64(),
                Op::TextRise(rise) => state.rise = rise.0.as_f64(),
                Op::TextFont(font) => {
                    state.size = font.1.as_f64();
                    self.state.font = match resources.get_font(font.0) {
                        Some(dict) => self.font(&dict),
                        None => self.fallback.clone(),
                    };
                }
                Op::ShowText(text) => self.show(text.0, pages),
                Op::NextLineAndShowText(text) => {
                    state.next_line(0.0, -state.leading);
                    self.show(text.0, pages);
                }
                Op::ShowTextWithParameters(text) => {
                    (state.word_space, state.char_space) = (text.0.as_f64(), text.1.as_f64());
                    state.next_line(0.0, -state.leading);
                    self.show(text.2, pages);
                }
                Op::ShowTexts(texts) => {
                    for text in texts.0.iter::<Object<'_>>() {
                        match text {
                            Object::Number(back) => self.state.adjust(back.as_f64()),
                            Object::String(text) => self.show(&text, pages),
                            _ => {}
                        }
                    }
                }
                Op::XObject(name) if depth < MAX_DEPTH => {
                    if let Some(form) = resources.get_x_object(name.0) {
                        self.show_form(&form, resources, depth, pages);
                    }
                }
                Op::BeginMarkedContent(_) => self.marked.push(Marked::Plain),
                Op::BeginMarkedContentWithProperties(mark) => self.marked.push(marked(mark.1, resources)),
                Op::EndMarkedContent(_) => {
                    if let Some(Marked::Replaced { text, bounds: Some((glyph, end)) }) = self.marked.pop() {
                        pages.put(&Glyph { end, ..glyph }, &text);
                    }
                }
                _ => {}
            }
        }
    }

    /// A form: content that pages and other forms show.
    fn show_form(&mut self, form: &Stream<'a>, resources: &Resources<'a>, depth: u32, pages: &mut Pages) {
        let dict = form.dict();
        if dict.get::<Name<'_>>("Subtype").is_none_or(|kind| kind.as_str() != "Form") {
            return;
        }
        self.left = self.left.saturating_sub(FORM);
        let Ok(content) = form.decoded_data() else { return };
        let own = dict.get::<Dict<'a>>("Resources").map(Resources::new);
        let (before, saved, marked) = (self.state.clone(), self.saved.len(), self.marked.len());
        self.state.ctm *=
            Affine::new(dict.get::<[f64; 6]>("Matrix").unwrap_or([1.0, 0.0, 0.0, 1.0, 0.0, 0.0]));
        self.work(TypedIter::new(&content), own.as_ref().unwrap_or(resources), depth + 1, pages);
        self.saved.truncate(saved);
        self.marked.truncate(marked);
        self.state = before;
    }

    fn font(&self, dict: &Dict<'a>) -> Option<Font<'a>> {
        self.fonts.font(dict, &self.font_resolver, &self.cmap_resolver)
    }

    fn show(&mut self, text: &Text<'_>, pages: &mut Pages) {
        if self.state.font.is_none() {
            self.state.font.clone_from(&self.fallback);
        }
        let Some(font) = self.state.font.clone() else { return };
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() && !pages.is_full() {
            let (code, length) = font.read_code(bytes, at);
            at += length.max(1);
            let glyph = self.state.advance(&font, code, length);
            match self.marked.iter_mut().find(|marked| matches!(marked, Marked::Replaced { .. })) {
                Some(Marked::Replaced { bounds, .. }) => {
                    bounds.get_or_insert((glyph, glyph.end)).1 = glyph.end;
                }
                _ => match meaning(&font, code) {
                    Some(BfString::Char(char)) => pages.put(&glyph, char.encode_utf8(&mut [0; 4])),
                    Some(BfString::String(text)) => pages.put(&glyph, &text),
                    None => pages.put(&glyph, "\u{fffd}"),
                },
            }
        }
    }
}

impl<'a> State<'a> {
    fn new() -> Self {
        Self {
            ctm: Affine::IDENTITY,
            font: None,
            size: 1.0,
            char_space: 0.0,
            word_space: 0.0,
            stretch: 1.0,
            leading: 0.0,
            rise: 0.0,
            matrix: Affine::IDENTITY,
            line_matrix: Affine::IDENTITY,
        }
    }

    fn place(&mut self, matrix: Affine) {
        (self.matrix, self.line_matrix) = (matrix, matrix);
    }

    fn next_line(&mut self, right: f64, up: f64) {
        self.place(self.line_matrix * Affine::translate((right, up)));
    }

    fn is_horizontal(&self) -> bool {
        self.font.as_ref().is_none_or(Font::is_horizontal)
    }

    /// A number between texts: so many thousandths of the font's size back.
    fn adjust(&mut self, back: f64) {
        let by = -back / f64::from(UNITS_PER_EM) * self.size;
        let by = if self.is_horizontal() { Vec2::new(by * self.stretch, 0.0) } else { Vec2::new(0.0, by) };
        self.matrix *= Affine::translate(by);
    }

    /// Where the glyph of a code is, and on to the next.
    fn advance(&mut self, font: &Font<'a>, code: u32, length: usize) -> Glyph {
        let at = self.ctm * self.matrix;
        let start = at * Point::new(0.0, self.rise);
        let is_horizontal = font.is_horizontal();
        let ahead = if is_horizontal { Vec2::new(1.0, 0.0) } else { Vec2::new(0.0, -1.0) };
        let along = |v: Vec2| at * v.to_point() - at * Point::ORIGIN;
        let advance = font.code_advance(code) / f64::from(UNITS_PER_EM) * self.size;
        let space = self.char_space + if code == 32 && length == 1 { self.word_space } else { 0.0 };
        // What is put between characters is no part of them.
        let (own, by) = if is_horizontal {
            (Vec2::new(advance.x * self.stretch, 0.0), Vec2::new((advance.x + space) * self.stretch, 0.0))
        } else {
            (Vec2::new(0.0, advance.y), Vec2::new(0.0, advance.y + space))
        };
        self.matrix *= Affine::translate(by);
        Glyph {
            start,
            end: start + along(own),
            ahead: along(ahead),
            size: along(Vec2::new(0.0, self.size)).hypot(),
        }
    }
}

fn matrix(numbers: [Number; 6]) -> Affine {
    Affine::new(numbers.map(|number| number.as_f64()))
}

/// What a code of a font says, when the font says so.
fn meaning(font: &Font<'_>, code: u32) -> Option<BfString> {
    match font.glyph(GlyphId::NOTDEF, code) {
        FontGlyph::Outline(glyph) => glyph.as_unicode(),
        FontGlyph::Type3(glyph) => glyph.as_unicode(),
    }
}

fn marked(properties: &Object<'_>, resources: &Resources<'_>) -> Marked {
    let dict = match properties {
        Object::Dict(dict) => Some(dict.clone()),
        Object::Name(name) => resources.properties.get::<Dict<'_>>(name),
        _ => None,
    };
    match dict.and_then(|dict| dict.get::<Text<'_>>("ActualText")) {
        Some(text) => Marked::Replaced { text: text_string(text.as_bytes()), bounds: None },
        None => Marked::Plain,
    }
}
