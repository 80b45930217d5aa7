"""A dataset as a training with a class map sees it: fewer classes, the same images under the same ids."""

from __future__ import annotations

from dataclasses import replace

from app.datasets.manifest import DatasetManifest, create_manifest
from app.errors import FieldError, InvalidRequestError
from app.schemas.class_map import ClassMap


def apply_class_map(manifest: DatasetManifest, class_map: ClassMap | None) -> DatasetManifest:
    """The manifest with classes renamed, and without the images of those that leave; its digest differs."""
    if class_map is None:
        return manifest
    names = {name: class_map.apply(name) for name in manifest.classes}
    items = [replace(item, label=new) for item in manifest.items if (new := names[item.label]) is not None]
    return replace(create_manifest(items, manifest.pixel_range), whole_digest=manifest.digest)


def check_class_map(class_map: ClassMap, classes: tuple[str, ...]) -> None:
    """Raises InvalidRequestError for a class that the dataset lacks, and where two would be merged unsaid."""
    unknown = sorted(set(class_map.old_names) - set(classes))
    if unknown:
        raise InvalidRequestError(
            f"class_map names classes that the dataset does not have: {', '.join(unknown)}.",
            hint=f"Its classes: {', '.join(classes)}.",
            errors=tuple(FieldError("/class_map", f"no class {name!r}") for name in unknown),
        )
    for new, old in class_map.merge.items():
        if new in classes and new not in old and class_map.apply(new) == new:
            raise InvalidRequestError(
                f"class_map merges into {new!r}, which is a class of the dataset already.",
                hint="List it among the classes that are merged, or choose another name.",
                errors=(FieldError(f"/class_map/merge/{new}", "a class already"),),
            )
