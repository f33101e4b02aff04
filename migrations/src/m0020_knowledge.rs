//! Collections of documents, cut into chunks, with where their words are.
#![expect(elided_lifetimes_in_paths, reason = "async_trait wants the signature as SeaORM's trait has it")]

use sea_orm_migration::prelude::*;

use crate::rls;
use crate::table::{foreign_key, index, instant, integer, json, tenant_table, text, uuid};

pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0020_knowledge"
    }
}

const TABLES: [&str; 4] = ["collections", "documents", "document_chunks", "document_words"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut collections = tenant_table("collections", &["name"]);
        collections
            .col(text("name"))
            .col(text("description"))
            .col(integer("documents"))
            .col(integer("chunks"))
            .col(integer("words"))
            .col(uuid("created_by"))
            .col(instant("created_at"))
            .foreign_key(&mut foreign_key("collections", &[], "tenants", &[]));
        manager.create_table(collections).await?;

        let mut documents = tenant_table("documents", &["collection", "id"]);
        documents
            .col(text("collection"))
            .col(uuid("id"))
            .col(text("title"))
            .col(text("source"))
            .col(text("media_type"))
            .col(ColumnDef::new("sha256").blob().not_null())
            .col(integer("bytes"))
            .col(integer("chunks"))
            .col(integer("words"))
            // The model of its chunks' vectors, where they have some.
            .col(ColumnDef::new("embedder").text().null())
            .col(integer("tokens"))
            .col(uuid("created_by"))
            .col(instant("created_at"))
            .foreign_key(&mut foreign_key("documents", &["collection"], "collections", &["name"]));
        manager.create_table(documents).await?;
        let by_content = index("documents", "by_content", &["tenant_id", "collection", "sha256"]);
        manager.create_index(by_content.clone().unique().to_owned()).await?;

        let document = ["collection", "document_id"];
        let mut chunks = tenant_table("document_chunks", &["collection", "document_id", "ordinal"]);
        chunks
            .col(text("collection"))
            .col(uuid("document_id"))
            .col(integer("ordinal"))
            .col(integer("begins"))
            .col(integer("ends"))
            .col(json("headings"))
            .col(text("text"))
            .col(ColumnDef::new("embedder").text().null())
            .col(ColumnDef::new("vector").blob().null())
            .foreign_key(&mut foreign_key("document_chunks", &document, "documents", &["collection", "id"]));
        manager.create_table(chunks).await?;

        let mut words = tenant_table("document_words", &["collection", "word", "document_id"]);
        words
            .col(text("collection"))
            .col(text("word"))
            .col(uuid("document_id"))
            .col(ColumnDef::new("occurrences").blob().not_null())
            .foreign_key(&mut foreign_key("document_words", &document, "documents", &["collection", "id"]));
        manager.create_table(words).await?;
        // For what goes with a document.
        let by_document = index("document_words", "by_document", &["tenant_id", "collection", "document_id"]);
        manager.create_index(by_document).await?;
        for table in TABLES {
            rls::enable(manager, table).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in TABLES.into_iter().rev() {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}
