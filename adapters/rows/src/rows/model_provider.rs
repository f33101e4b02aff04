//! Rows of `model_providers`.

use chrono::{DateTime, Utc};
use powerhouse_domain::catalogue::{CatalogueModel, Provider, ProviderModels, ProviderSettings};
use powerhouse_domain::ids::{ModelProviderId, UserId};
use powerhouse_ports::store::StoreError;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;

use super::{corrupt, signed, unsigned};

const TABLE: &str = "model_providers";

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "model_providers")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) tenant_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) base_url: String,
    pub(crate) cache_prompts: bool,
    /// A list of [`CatalogueModel`].
    pub(crate) models: Json,
    /// Sealed.
    pub(crate) api_key: Option<Vec<u8>>,
    pub(crate) created_by: Uuid,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) version: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What changes of a provider, but for its key.
pub(crate) fn changes(provider: &Provider) -> Result<ActiveModel, StoreError> {
    let ProviderSettings { kind, base_url, cache_prompts, models } = &provider.settings;
    let models =
        serde_json::to_value(models.as_slice()).map_err(|error| StoreError::Internal(error.into()))?;
    Ok(ActiveModel {
        kind: Set(kind.as_str().to_owned()),
        base_url: Set(base_url.as_str().to_owned()),
        cache_prompts: Set(*cache_prompts),
        models: Set(models),
        version: Set(signed(provider.version)),
        ..Default::default()
    })
}

impl TryFrom<Model> for Provider {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let models: Vec<CatalogueModel> =
            serde_json::from_value(row.models).map_err(corrupt(TABLE, "models"))?;
        Ok(Self {
            id: ModelProviderId::from_uuid(row.id),
            name: row.name.parse().map_err(corrupt(TABLE, "name"))?,
            settings: ProviderSettings {
                kind: row.kind.parse().map_err(corrupt(TABLE, "kind"))?,
                base_url: row.base_url.parse().map_err(corrupt(TABLE, "base_url"))?,
                cache_prompts: row.cache_prompts,
                models: ProviderModels::new(models).map_err(corrupt(TABLE, "models"))?,
            },
            has_key: row.api_key.is_some(),
            created_by: UserId::from_uuid(row.created_by),
            created_at: row.created_at,
            version: unsigned(TABLE, "version", row.version)?,
        })
    }
}
