"""A rule of a person's may be called like one that comes with every workspace."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tagging", "0002_tenant_keys")]

    operations = [
        migrations.RemoveConstraint(model_name="tagrule", name="tag_rules_once"),
        migrations.AddConstraint(
            model_name="tagrule",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_builtin", False)), fields=("workspace", "name"), name="tag_rules_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="tagrule",
            constraint=models.UniqueConstraint(
                condition=models.Q(("is_builtin", True)),
                fields=("workspace", "condition"),
                name="tag_rules_builtin_once",
            ),
        ),
    ]
