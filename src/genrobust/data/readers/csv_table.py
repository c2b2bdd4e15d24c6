"""Images that a CSV table names, with column names of the user's choice."""

from __future__ import annotations

from genrobust.core import UserError
from genrobust.data.csv_files import LABEL_COLUMN, TableColumns, list_csv
from genrobust.data.image_kinds import Reader
from genrobust.data.listing import ListedImages
from genrobust.data.stored_images import StoredImages, stored_listing
from genrobust.recipe import READERS


@READERS.register("csv")
class CsvTable(Reader):
    """A CSV table in `path` with a row per image: a path relative to the table, and a label.

    `path_column` and `label_column` name its columns. Without them, the columns are `path` or `file_name`, and `label`.
    Other columns serve `data.groups`, `data.groups_apart` and `data.styles`.
    """

    path_column: str | None = None
    label_column: str = LABEL_COLUMN

    def list_stored(self, key: str) -> StoredImages:
        return stored_listing(self.path, list_csv(self.path, columns=self._columns))

    def list_unlabeled(self, key: str) -> ListedImages:
        listing = list_csv(self.path, labeled=False, columns=self._columns)
        if not listing.keys:
            raise UserError(f"{key}: the table {self.path} names no image")
        return ListedImages(self.path.name, listing, {"": (0,)})

    @property
    def _columns(self) -> TableColumns:
        return TableColumns(self.path_column, self.label_column)
