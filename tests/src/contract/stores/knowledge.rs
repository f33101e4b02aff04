//! Collections of documents, and what these are found by.

use powerhouse_domain::ids::DocumentId;
use powerhouse_domain::knowledge::{
    Collection, CollectionName, Document, Extracted, Indexed, MediaType, Place, query_words,
};
use powerhouse_domain::tenants::Plan;
use powerhouse_ports::store::{Limit, StoreError};

use super::Stores;
use crate::contract::sample::{Office, at, next_id, office};

fn name(text: &str) -> CollectionName {
    text.parse().expect("a name")
}

fn collection(office: &Office, text: &str) -> Collection {
    Collection::new(name(text), "What people ask".into(), office.owner.id(), at(1)).expect("a collection")
}

/// A document of this text, with a vector for each of its chunks.
fn document(office: &Office, collection: &str, text: &str) -> (Document, Indexed, Vec<Vec<f32>>) {
    let extracted = Extracted { title: None, text: text.into(), headings: Vec::new() };
    let indexed = Indexed::of("Title", &extracted).expect("a text");
    let mut sha256 = [0; 32];
    sha256[..text.len().min(32)].copy_from_slice(&text.as_bytes()[..text.len().min(32)]);
    let document = Document {
        id: DocumentId::from_uuid(next_id()),
        collection: name(collection),
        title: indexed.title.clone(),
        source: "https://example.org/a".into(),
        media_type: MediaType::Markdown,
        sha256,
        bytes: indexed.bytes as u64,
        chunks: indexed.chunks.len() as u64,
        words: indexed.length,
        model: Some("m".into()),
        tokens: 7,
        created_by: office.owner.id(),
        created_at: at(2),
    };
    let vectors = indexed.chunks.iter().map(|_| vec![0.6, -0.8]).collect();
    (document, indexed, vectors)
}

/// Puts a document of this text into a collection; the model `m` has made a vector of its chunks.
pub async fn put(stores: &Stores, office: &Office, collection: &str, text: &str) -> Document {
    let (document, indexed, vectors) = document(office, collection, text);
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    tx.knowledge().add_document(&document, &indexed, &vectors).await.expect("add");
    tx.commit().await.expect("commit");
    document
}

/// A tenant that has these collections.
pub async fn with_collections(stores: &Stores, names: &[&str]) -> Office {
    let office = office(&*stores.platform, Plan::Team).await;
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    for name in names {
        tx.knowledge().add_collection(&collection(&office, name)).await.expect("add");
    }
    tx.commit().await.expect("commit");
    office
}

/// What is stored is found as it was: by ids, by words and by vectors; and it goes as a whole.
pub async fn documents_survive(stores: &Stores) {
    let office = with_collections(stores, &["b", "a"]).await;
    let text = "Parental leave takes weeks. ".repeat(100);
    let (document, indexed, vectors) = document(&office, "a", &text);
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    let knowledge = tx.knowledge();
    let names: Vec<_> =
        knowledge.collections().await.expect("list").into_iter().map(|found| found.name).collect();
    assert_eq!(names, [name("a"), name("b")]);
    let again = knowledge.add_collection(&collection(&office, "a")).await;
    assert!(matches!(again, Err(StoreError::Conflict { .. })), "{again:?}");

    knowledge.add_document(&document, &indexed, &vectors).await.expect("add");
    let other = Document { id: DocumentId::from_uuid(next_id()), ..document.clone() };
    let nowhere = Document { collection: name("c"), ..other.clone() };
    for refused in [other, nowhere] {
        let refused = knowledge.add_document(&refused, &indexed, &vectors).await;
        assert!(matches!(refused, Err(StoreError::Conflict { .. })), "{refused:?}");
    }
    assert_eq!(knowledge.document(&name("a"), document.id).await.expect("find"), Some(document.clone()));
    assert_eq!(knowledge.document(&name("b"), document.id).await.expect("find"), None);
    assert!(indexed.chunks.len() > 2, "the text is long");
    assert_eq!(knowledge.chunks(&name("a"), document.id).await.expect("chunks"), indexed.chunks);

    let place = |ordinal| Place { collection: name("a"), document: document.id, ordinal };
    let found = knowledge.found(&[place(1), place(99)]).await.expect("found");
    assert_eq!(found.len(), 1);
    assert_eq!((&found[0].place, &found[0].chunk), (&place(1), &indexed.chunks[1]));
    assert_eq!(
        knowledge.documents_of(&[place(0), place(1)]).await.expect("of"),
        std::slice::from_ref(&document)
    );
    assert!(knowledge.found(&[]).await.expect("found").is_empty());

    let words = query_words("parental leave, and nothing");
    let mut postings = knowledge.postings(&[name("a"), name("b")], &words).await.expect("postings");
    postings.sort_by(|a, b| a.word.cmp(&b.word));
    let found: Vec<_> = postings.iter().map(|posting| posting.word.as_str()).collect();
    assert_eq!(found, ["leave", "parental"]);
    assert_eq!(postings[1].occurrences, indexed.words["parental"]);
    assert!(knowledge.postings(&[name("b")], &words).await.expect("postings").is_empty());
    assert!(knowledge.postings(&[], &words).await.expect("postings").is_empty());

    let near = knowledge.nearest(&[name("b"), name("a")], "m", &[0.6, -0.8], 2).await.expect("nearest");
    assert_eq!(near.iter().map(|(place, _)| place.clone()).collect::<Vec<_>>(), [place(0), place(1)]);

    assert!(knowledge.remove_document(&document).await.expect("remove"));
    assert!(!knowledge.remove_document(&document).await.expect("remove"));
    assert!(knowledge.chunks(&name("a"), document.id).await.expect("chunks").is_empty());
    assert!(knowledge.postings(&[name("a")], &words).await.expect("postings").is_empty());
    tx.commit().await.expect("commit");
}

/// A collection says how much is in it, whatever comes and goes; and takes all of it along.
pub async fn what_is_in_a_collection_is_counted(stores: &Stores) {
    let office = with_collections(stores, &["a"]).await;
    let first = put(stores, &office, "a", "One two three").await;
    let second = put(stores, &office, "a", "Four five").await;
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    let counted = tx.knowledge().collection(&name("a")).await.expect("find").expect("there");
    assert_eq!(
        (counted.documents, counted.chunks, counted.words),
        (2, first.chunks + second.chunks, first.words + second.words)
    );
    let one = Limit::new(1).expect("a limit");
    let page = tx.knowledge().documents(&name("a"), None, one).await.expect("list");
    assert_eq!((page.items, page.next), (vec![first.clone()], Some(first.id)));
    let page = tx.knowledge().documents(&name("a"), Some(first.id), one).await.expect("list");
    assert_eq!((page.items, page.next), (vec![second.clone()], None));
    tx.knowledge().remove_document(&first).await.expect("remove");
    let counted = tx.knowledge().collection(&name("a")).await.expect("find").expect("there");
    assert_eq!((counted.documents, counted.chunks, counted.words), (1, second.chunks, second.words));
    assert!(tx.knowledge().remove_collection(&name("a")).await.expect("remove"));
    assert!(!tx.knowledge().remove_collection(&name("a")).await.expect("remove"));
    assert_eq!(tx.knowledge().document(&name("a"), second.id).await.expect("find"), None);
    assert!(tx.knowledge().nearest(&[name("a")], "m", &[0.6, -0.8], 9).await.expect("nearest").is_empty());
    tx.commit().await.expect("commit");
}

/// The nearest are found, in their order, however many there are: not what is not alike at all, what another model made, or
/// what has another length.
pub async fn the_nearest_are_found(stores: &Stores) {
    // In the order of bytes, which is that of few languages.
    let office = with_collections(stores, &["b_", "b-c", "ba", "unasked"]).await;
    let asked = [name("b_"), name("b-c"), name("ba")];
    let mut tx = stores.tenants.begin(&office.principal.scope()).await.expect("begin");
    let knowledge = tx.knowledge();
    let mut put = async |collection: &str, model: &str, text: &str, vectors: &[Vec<f32>]| {
        let (document, mut indexed, _) = document(&office, collection, text);
        indexed.chunks = vec![indexed.chunks[0].clone(); vectors.len().max(1)];
        let document = Document { model: Some(model.to_owned()), ..document };
        knowledge.add_document(&document, &indexed, vectors).await.expect("add");
        Place { collection: document.collection, document: document.id, ordinal: 0 }
    };
    let best = put("ba", "m", "best", &[vec![1.0, 0.0]]).await;
    let good = put("b_", "m", "good", &[vec![0.8, 0.6]]).await;
    let alike_too = put("b_", "m", "alike", &[vec![0.6, 0.8]]).await;
    let alike = put("b-c", "m", "alike", &[vec![0.6, 0.8]]).await;
    let alike_again = put("ba", "m", "alike", &[vec![0.6, 0.8]]).await;
    put("ba", "m", "square", &[vec![0.0, 1.0]]).await;
    put("ba", "m", "away", &[vec![-1.0, 0.0]]).await;
    put("ba", "m", "nothing", &[]).await;
    put("ba", "m", "longer", &[vec![1.0, 0.0, 0.0]]).await;
    put("ba", "other", "other", &[vec![1.0, 0.0]]).await;
    put("unasked", "m", "unasked", &[vec![1.0, 0.0]]).await;
    // More than are read at once, all as near.
    let far = put("b_", "m", "far", &vec![vec![0.1, 0.994_987_4]; 1_100]).await;

    let nearest = [(best, 1.0), (good, 0.8), (alike, 0.6), (alike_too, 0.6), (alike_again, 0.6)];
    for most in [1, 4, 5] {
        let found = knowledge.nearest(&asked, "m", &[1.0, 0.0], most).await.expect("nearest");
        let places: Vec<_> = found.iter().map(|(place, _)| place).collect();
        assert_eq!(places, nearest[..most].iter().map(|(place, _)| place).collect::<Vec<_>>());
        for ((_, cosine), (_, expected)) in found.iter().zip(&nearest) {
            assert!((cosine - expected).abs() < 1e-6, "{cosine} instead of {expected}");
        }
    }
    let all = knowledge.nearest(&asked, "m", &[1.0, 0.0], 10_000).await.expect("nearest");
    let places: Vec<_> = all.into_iter().skip(nearest.len()).map(|(place, _)| place).collect();
    assert_eq!(places, (0..1_100).map(|ordinal| Place { ordinal, ..far.clone() }).collect::<Vec<_>>());
    let longer = knowledge.nearest(&asked, "m", &[1.0, 0.0, 0.0], 9).await.expect("nearest");
    assert_eq!(longer.len(), 1);
    assert!(knowledge.nearest(&asked, "m", &[1.0], 9).await.expect("nearest").is_empty());
    assert!(knowledge.nearest(&asked, "m", &vec![0.0; 20_000], 9).await.expect("nearest").is_empty());
    assert!(knowledge.nearest(&asked, "third", &[1.0, 0.0], 9).await.expect("nearest").is_empty());
    assert!(knowledge.nearest(&[], "m", &[1.0, 0.0], 9).await.expect("nearest").is_empty());
}

/// With the names and ids of another tenant's documents in hand, nothing is found and nothing changes.
pub async fn documents_are_their_tenants_own(stores: &Stores) {
    let (ours, theirs) = (with_collections(stores, &["a"]).await, with_collections(stores, &["a"]).await);
    let text = "The secret word is swordfish";
    let own = put(stores, &ours, "a", "Nothing of theirs").await;
    let document = put(stores, &theirs, "a", text).await;
    let place = Place { collection: name("a"), document: document.id, ordinal: 0 };
    let words = query_words("swordfish");

    let mut tx = stores.tenants.begin(&ours.principal.scope()).await.expect("begin");
    let knowledge = tx.knowledge();
    assert_eq!(knowledge.collections().await.expect("list").len(), 1);
    assert_eq!(knowledge.document(&name("a"), document.id).await.expect("find"), None);
    let page = knowledge.documents(&name("a"), None, Limit::default()).await.expect("list");
    assert_eq!(page.items, std::slice::from_ref(&own));
    assert!(knowledge.documents_of(std::slice::from_ref(&place)).await.expect("of").is_empty());
    assert!(knowledge.chunks(&name("a"), document.id).await.expect("chunks").is_empty());
    assert!(knowledge.found(std::slice::from_ref(&place)).await.expect("found").is_empty());
    assert!(knowledge.postings(&[name("a")], &words).await.expect("postings").is_empty());
    let near = knowledge.nearest(&[name("a")], "m", &[0.6, -0.8], 9).await.expect("nearest");
    assert_eq!(near.iter().map(|(place, _)| place.document).collect::<Vec<_>>(), [own.id]);
    assert!(!knowledge.remove_document(&document).await.expect("remove"));
    assert!(knowledge.remove_collection(&name("a")).await.expect("remove"), "ours has the same name");
    tx.commit().await.expect("commit");

    let mut view = stores.tenants.read(&theirs.principal.scope()).await.expect("read");
    let counted = view.knowledge().collection(&name("a")).await.expect("find").expect("there");
    assert_eq!((counted.documents, counted.words), (1, document.words));
    assert_eq!(view.knowledge().document(&name("a"), document.id).await.expect("find"), Some(document));
    assert_eq!(view.knowledge().postings(&[name("a")], &words).await.expect("postings").len(), 1);
    assert_eq!(view.knowledge().found(&[place]).await.expect("found").len(), 1);
}
