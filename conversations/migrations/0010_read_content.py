from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("conversations", "0009_usage_agent"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="message",
            options={"permissions": [("read_content", "Can read what customers wrote")]},
        ),
    ]
