from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0005_money_permissions"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="billingevent",
            options={
                "permissions": [
                    ("refund_billingevent", "Can refund a charge"),
                    ("download_lists", "Can download the ledger, wallets, holds and usage"),
                ]
            },
        ),
    ]
