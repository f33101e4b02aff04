//! Collections of documents: what agents and people search.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use powerhouse_domain::knowledge::{Collection, CollectionName, MediaType, NewDocument};
use powerhouse_usecases::knowledge::{
    AddDocument, CreateCollection, DeleteCollection, DeleteDocument, ListCollections, ListDocuments, Query,
    ReadCollection, ReadDocument, SearchKnowledge,
};
use salvo::Router;
use salvo::oapi::endpoint;
use salvo::prelude::{Depot, Request};

use crate::body::{field, id, json, page, query_number};
use crate::cursor;
use crate::guard::principal;
use crate::idempotency::{answer, once};
use crate::problem::Problem;
use crate::reply::{NoContent, Reply};

mod views;

use views::{
    CollectionList, CollectionView, DocumentPage, DocumentView, FoundView, NewCollection, PutDocument,
    WholeDocument, document_reply,
};

/// How many chunks a search gives, unless it is told.
const USUAL_HITS: u32 = 5;

/// What the slice uses.
#[derive(Clone)]
pub struct Collections {
    /// Lists collections.
    pub list: ListCollections,
    /// Reads one.
    pub read: ReadCollection,
    /// Makes them.
    pub create: CreateCollection,
    /// Removes them.
    pub delete: DeleteCollection,
    /// Lists documents.
    pub documents: ListDocuments,
    /// Reads one.
    pub document: ReadDocument,
    /// Puts them.
    pub add_document: AddDocument,
    /// Removes them.
    pub delete_document: DeleteDocument,
    /// Searches.
    pub search: SearchKnowledge,
}

impl Collections {
    pub(crate) fn guarded(&self) -> Router {
        let document = Router::with_path("{document_id}")
            .get(GetDocument(self.document.clone()))
            .delete(RemoveDocument(self.delete_document.clone()));
        let documents = Router::with_path("documents")
            .get(GetDocuments(self.documents.clone()))
            .post(PostDocument(self.add_document.clone()))
            .push(document);
        let one = Router::with_path("{collection_name}")
            .get(GetCollection(self.read.clone()))
            .delete(RemoveCollection(self.delete.clone()))
            .push(documents)
            .push(Router::with_path("search").get(Search(self.search.clone())));
        Router::with_path("collections")
            .get(GetCollections(self.list.clone()))
            .post(PostCollection(self.create.clone()))
            .push(one)
    }
}

fn name(req: &Request) -> Result<CollectionName, Problem> {
    id(req, "collection_name", "collection")
}

fn created(collection: &Collection) -> Reply<CollectionView> {
    Reply::created(format!("/v1/collections/{}", collection.name), CollectionView::from(collection))
}

struct GetCollections(ListCollections);

/// All collections by their names, with how much is in each
#[endpoint(operation_id = "list_collections", tags("knowledge"), security(["bearer" = []]),
    responses((status_code = 200, description = "The collections; there are few.", body = CollectionList)))]
impl GetCollections {
    async fn handle(&self, _req: &mut Request, depot: &mut Depot) -> Result<Reply<CollectionList>, Problem> {
        let collections = self.0.execute(principal(depot)?).await?;
        Ok(Reply::ok(CollectionList { items: collections.iter().map(Into::into).collect() }))
    }
}

struct PostCollection(CreateCollection);

/// Make a collection of documents
///
/// All agents of the tenant that list the tool `knowledge_search` can search it.
#[endpoint(operation_id = "create_collection", tags("knowledge"), security(["bearer" = []]), request_body = NewCollection,
    responses((status_code = 201, description = "The collection.", body = CollectionView)))]
impl PostCollection {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<CollectionView>, Problem> {
        let NewCollection { name, description } = json(req).await?;
        let name = field("/name", &name)?;
        let done = self.0.execute(principal(depot)?, name, description, &once(depot, created)).await;
        answer(done, created)
    }
}

struct GetCollection(ReadCollection);

/// A collection, with how much is in it
#[endpoint(operation_id = "get_collection", tags("knowledge"), security(["bearer" = []]),
    parameters(("collection_name" = String, Path, description = "The collection's name")),
    responses((status_code = 200, description = "The collection.", body = CollectionView)))]
impl GetCollection {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<CollectionView>, Problem> {
        Ok(Reply::ok((&self.0.execute(principal(depot)?, name(req)?).await?).into()))
    }
}

struct RemoveCollection(DeleteCollection);

/// Remove a collection with all its documents
#[endpoint(operation_id = "delete_collection", tags("knowledge"), security(["bearer" = []]),
    parameters(("collection_name" = String, Path, description = "The collection's name")))]
impl RemoveCollection {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<NoContent, Problem> {
        self.0.execute(principal(depot)?, name(req)?).await?;
        Ok(NoContent)
    }
}

struct GetDocuments(ListDocuments);

/// A page of a collection's documents, in the order in which they were put
#[endpoint(operation_id = "list_documents", tags("knowledge"), security(["bearer" = []]),
    parameters(("collection_name" = String, Path, description = "The collection's name"),
               ("limit" = Option<u16>, Query, description = "1 to 100, 20 by default"),
               ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before")),
    responses((status_code = 200, description = "A page.", body = DocumentPage)))]
impl GetDocuments {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<DocumentPage>, Problem> {
        let (after, limit) = page(req)?;
        let page = self.0.execute(principal(depot)?, name(req)?, after, limit).await?;
        let items = page.items.iter().map(Into::into).collect();
        Ok(Reply::ok(DocumentPage { items, next_cursor: page.next.as_ref().map(cursor::encode) }))
    }
}

struct PostDocument(AddDocument);

/// Put a document into a collection, from where it is found at once
///
/// Its text is taken out of it, cut into chunks, and turned into vectors while you wait. Nothing is stored unless all of it is.
/// PDF is sent in Base64. What opens with a password only is refused as `document_encrypted`, pages without text, such as scans, as
/// `document_without_text`, more than a mebibyte of text as `document_too_long`, and what is broken, or takes more time or
/// memory than a document may, as `document_unreadable`.
/// What a tenant has masked is not told to whoever makes the vectors. Their tokens count against the budgets of the tenant and
/// of yourself; where one has too little left, the answer is 409 with `limit_reached`.
#[endpoint(operation_id = "create_document", tags("knowledge"), security(["bearer" = []]), request_body = PutDocument,
    parameters(("collection_name" = String, Path, description = "The collection's name")),
    responses((status_code = 201, description = "What is told of the document.", body = DocumentView)))]
impl PostDocument {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<DocumentView>, Problem> {
        let name = name(req)?;
        let PutDocument { title, source, media_type, content } = json(req).await?;
        let media_type: MediaType = media_type.parse().map_err(|_| {
            let detail = "send plain text, Markdown, HTML or PDF: `text/plain`, `text/markdown`, `text/html` or \
                          `application/pdf`";
            let code = "document_type_unsupported";
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail).at("/media_type")
        })?;
        let content = match media_type {
            MediaType::Pdf => STANDARD.decode(&content).map_err(|_| {
                let detail = "is not Base64 (RFC 4648, with padding, in one line), in which PDF is sent";
                Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail).at("/content")
            })?,
            MediaType::Plain | MediaType::Markdown | MediaType::Html => content.into_bytes(),
        };
        let new = NewDocument { title, source, media_type, content };
        let done = self.0.execute(principal(depot)?, name, new, &once(depot, document_reply)).await;
        answer(done, document_reply)
    }
}

struct GetDocument(ReadDocument);

/// A document with its text, in which the offsets of citations are
#[endpoint(operation_id = "get_document", tags("knowledge"), security(["bearer" = []]),
    parameters(("collection_name" = String, Path, description = "The collection's name"),
               ("document_id" = String, Path, description = "The document's id")),
    responses((status_code = 200, description = "The document.", body = WholeDocument)))]
impl GetDocument {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<WholeDocument>, Problem> {
        let document = id(req, "document_id", "document")?;
        let (document, chunks) = self.0.execute(principal(depot)?, name(req)?, document).await?;
        Ok(Reply::ok(WholeDocument::of(&document, &chunks)))
    }
}

struct RemoveDocument(DeleteDocument);

/// Remove a document: it is found no more
#[endpoint(operation_id = "delete_document", tags("knowledge"), security(["bearer" = []]),
    parameters(("collection_name" = String, Path, description = "The collection's name"),
               ("document_id" = String, Path, description = "The document's id")))]
impl RemoveDocument {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<NoContent, Problem> {
        let document = id(req, "document_id", "document")?;
        self.0.execute(principal(depot)?, name(req)?, document).await?;
        Ok(NoContent)
    }
}

struct Search(SearchKnowledge);

/// Search a collection, by words and by meaning
///
/// The vector of what is looked for counts against the budgets of the tenant and of yourself; where one has too little left, the
/// answer is 409 with `limit_reached`.
#[endpoint(operation_id = "search_collection", tags("knowledge"), security(["bearer" = []]),
    parameters(("collection_name" = String, Path, description = "The collection's name"),
               ("query" = Option<String>, Query, description = "What is looked for: 1 to 2,000 characters"),
               ("limit" = Option<u32>, Query, description = "How many chunks, 1 to 20; 5 by default")),
    responses((status_code = 200, description = "The chunks that fit best.", body = FoundView)))]
impl Search {
    async fn handle(&self, req: &mut Request, depot: &mut Depot) -> Result<Reply<FoundView>, Problem> {
        let limit = query_number(req, "limit")?.unwrap_or(USUAL_HITS);
        let text = req.queries().get("query").cloned().unwrap_or_default();
        let query = Query::new(&text, Vec::new(), limit).map_err(|bad| {
            let parameter = bad.pointer.trim_start_matches('/');
            Problem::bad_request("search_invalid", format!("`{parameter}` {}", bad.reason))
        })?;
        let found = self.0.execute(principal(depot)?, name(req)?, query).await?;
        Ok(Reply::ok(FoundView::from(&found)))
    }
}
