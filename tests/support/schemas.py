"""JSON schemas that documents are checked against."""


def validator(schema):
    """Return what raises for a document that does not follow a schema."""
    from jsonschema.validators import validator_for  # compiles grammars for a second

    kind = validator_for(schema)
    kind.check_schema(schema)
    return kind(schema).validate
