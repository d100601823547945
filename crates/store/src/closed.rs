//! What agencies keep closed, as each last said: a gateway holds to it while the agency is away.

use crate::{State, StoreError};
use firebreak_domain::{Closed, ColumnName, DatasetId, OrgId};
use sqlx::Row;
use std::collections::BTreeMap;

impl State {
    /// Keeps what an agency says that it has closed, in place of what it said before.
    ///
    /// # Errors
    /// [`StoreError`]: what it said before is kept.
    pub async fn keep_closed(&self, agency: &OrgId, closed: &[Closed]) -> Result<(), StoreError> {
        let (agency, closed) = (agency.to_string(), closed.to_vec());
        self.write(move |work| {
            Box::pin(async move {
                sqlx::query("DELETE FROM closed WHERE agency = ?").bind(&agency).execute(work.sql()).await?;
                for Closed { dataset, column } in closed {
                    sqlx::query(
                        "INSERT INTO closed (agency, dataset, column_name) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                    )
                    .bind(&agency)
                    .bind(dataset.as_str())
                    .bind(column.as_ref().map_or("", ColumnName::as_str))
                    .execute(work.sql())
                    .await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// What each agency last said that it has closed.
    ///
    /// # Errors
    /// [`StoreError`] if the state failed.
    pub async fn closed(&self) -> Result<BTreeMap<OrgId, Vec<Closed>>, StoreError> {
        let malformed = |_| StoreError::Malformed("what an agency has closed");
        let rows = sqlx::query("SELECT agency, dataset, column_name FROM closed ORDER BY agency, dataset, column_name")
            .fetch_all(&self.shared.readers)
            .await?;
        let mut closed: BTreeMap<OrgId, Vec<Closed>> = BTreeMap::new();
        for row in &rows {
            let agency = OrgId::new(row.try_get::<String, _>(0)?).map_err(malformed)?;
            let dataset = DatasetId::new(row.try_get::<String, _>(1)?).map_err(malformed)?;
            let column: String = row.try_get(2)?;
            let column = if column.is_empty() { None } else { Some(ColumnName::new(column).map_err(malformed)?) };
            closed.entry(agency).or_default().push(Closed { dataset, column });
        }
        Ok(closed)
    }
}
