from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0004_token_spend"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="billingevent",
            options={"permissions": [("refund_billingevent", "Can refund a charge")]},
        ),
        migrations.AlterModelOptions(
            name="wallet",
            options={
                "permissions": [
                    ("top_up_wallet", "Can top up a wallet"),
                    ("adjust_wallet", "Can adjust a balance"),
                    ("suspend_wallet", "Can suspend a wallet and open it again"),
                ]
            },
        ),
    ]
